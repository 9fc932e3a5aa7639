import { durable } from '../durable.ts'
import type { Run } from '../postgres.ts'

/** The shards that this process relays, each with the epoch of its lease. */
export type Leases = {
  epochs: Map<number, string>
  validUntilMs: number
  /** When the message was made that is first in the whole outbox, in milliseconds of the epoch; undefined when it is empty. */
  oldestAt: number | undefined
}

const claim = `with seen as (
    insert into relay_members (owner, seen_at) values ($1, clock_timestamp())
    on conflict (owner) do update set seen_at = excluded.seen_at
  ),
  gone as (
    delete from relay_members where owner <> $1 and seen_at < clock_timestamp() - 10 * $2::interval
  ),
  quota as (
    select ceil((select count(*) from relay_leases)::numeric / (1 + count(*))) as shards
    from relay_members where owner <> $1 and seen_at > clock_timestamp() - $2::interval
  ),
  candidates as materialized (
    select shard, coalesce(owner = $1 and expires_at > clock_timestamp(), false) as kept
    from relay_leases
    where owner = $1 or owner is null or expires_at <= clock_timestamp()
    for update skip locked
  ),
  ranked as (
    select shard, kept, row_number() over (order by kept desc, shard) <= shards as wanted
    from candidates, quota
  ),
  taken as (
    update relay_leases as lease set
      owner = case when wanted then $1::uuid end,
      epoch = case when wanted and kept then epoch else epoch + 1 end,
      expires_at = case when wanted then clock_timestamp() + $2::interval else '-infinity' end
    from ranked
    where lease.shard = ranked.shard and (wanted or lease.owner = $1)
    returning lease.shard, lease.epoch, wanted
  )
  select taken.*, (select occurred_at from outbox order by id limit 1) as oldest
  from (values (1)) as always left join taken on true`

/**
 * Renews this process's leases, takes free and expired ones up to its fair share of the live processes, and gives up
 * what exceeds it, in one statement. Call it only with no message in hand: a shard given up may be sent by its next
 * owner at once. `validUntilMs` is on the monotonic clock of this process and is counted from before the statement.
 */
export const claimLeases = async (run: Run, owner: string, leaseMs: number): Promise<Leases> => {
  const askedAtMs = performance.now()
  const rows = await durable('relay.claim', () => run(claim, [owner, `${leaseMs} milliseconds`]))
  const oldest = rows[0]?.['oldest']
  const mine = rows.filter((row) => row['wanted'] === true)
  return {
    epochs: new Map(mine.map((row) => [Number(row['shard']), String(row['epoch'])])),
    validUntilMs: askedAtMs + leaseMs,
    oldestAt: typeof oldest === 'string' ? Date.parse(oldest) : undefined,
  }
}

const release = `with gone as (delete from relay_members where owner = $1)
  update relay_leases set owner = null, epoch = epoch + 1, expires_at = '-infinity' where owner = $1`

/** Gives all leases up, so that another process need not wait for them to expire. */
export const releaseLeases = async (run: Run, owner: string): Promise<void> => {
  await durable('relay.release', () => run(release, [owner]))
}
