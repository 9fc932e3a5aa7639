import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { asOwner } from './environment.ts'
import { pgbenchScript, pgbenchTool } from './pgbench.ts'
import { type Bench, type Scenario, alternate } from './scenario.ts'
import { constantHash, hostUsers } from './users-module.ts'

const clients = 32

/** The same rows as a registration's, each value made up by Postgres. */
const fourRoundTrips = `\\set shard random(0, 11)
begin;
insert into users (id, name, email, email_key, password_hash, role, status, version, created_at)
  values (uuidv7(), 'Ada Lovelace', gen_random_uuid() || '@example.com', gen_random_uuid() || '@example.com',
    '${constantHash}', 'customer', 'active', 1, now());
insert into outbox (shard, message_id, topic, key, type, source, subject, sequence, occurred_at, correlation_id, causation_id, value)
  values (:shard, uuidv7(), 'user-events', uuidv7(), 'users.user-registered.v1', 'users', uuidv7(), 1,
    '2026-01-01T00:00:00.000Z', gen_random_uuid(), gen_random_uuid(),
    '{"userId":"' || gen_random_uuid() || '","role":"customer","registeredAt":"2026-01-01T00:00:00.000Z"}');
end;
`

/** Registers as fast as `clients` callers can, who each wait for their answer. */
export const registrations = async (register: () => Promise<unknown>, seconds: number): Promise<number> => {
  const startedAt = performance.now()
  const endsAt = startedAt + seconds * 1_000
  let count = 0
  const client = async () => {
    while (performance.now() < endsAt) {
      await register()
      count += 1
    }
  }
  await Promise.all(Array.from({ length: clients }, client))
  return count / ((performance.now() - startedAt) / 1_000)
}

const empty = (bench: Bench) => asOwner(bench, 'truncate users.users, users.outbox; checkpoint')

export const write: Scenario = {
  name: 'write',
  needs: [pgbenchTool],
  run: async (bench) => {
    const folder = await mkdtemp(join(tmpdir(), 'bulkhead-bench-'))
    const script = join(folder, 'four-round-trips.sql')
    await Bun.write(script, fourRoundTrips)
    // It is never started: no relay takes the rows away.
    const { register, close } = hostUsers(bench)
    const limit = async (seconds: number) => {
      await empty(bench)
      return pgbenchScript(bench, { script, clients, seconds })
    }
    const figure = async (seconds: number) => {
      await empty(bench)
      return registrations(register, seconds)
    }
    try {
      await limit(1)
      await figure(bench.quick ? 1 : 3)
      const measured = await alternate(bench, {
        limit: () => limit(bench.seconds),
        figure: () => figure(bench.seconds),
      })
      return [
        {
          scenario: 'write',
          figure: `registerUser with a constant password hash, ${clients} at a time`,
          unit: 'commits/s',
          figures: measured.figure,
          limit: `pgbench -M prepared -c ${clients}, the same two inserts in four round trips`,
          limits: measured.limit,
          target: { atLeast: 1.5 },
        },
      ]
    } finally {
      await close()
      await empty(bench)
      await rm(folder, { recursive: true, force: true })
    }
  },
}
