import type { Postgres } from '../postgres.ts'
import { createTurns } from '../turns.ts'

export type Takeover = {
  /** Says which partitions this process has been given; those before are not its own any more. */
  given(partitions: number[]): void
  /** Says that no partition is this process's until it is given some again; whoever gets them finds them left in order. */
  lost(): void
  /** Notes durably what was given, if that has not been done; to be awaited before its messages are handled. */
  begin(): Promise<void>
  /** Whether any message is handled alone at present. */
  isWary(): boolean
  /** Whether a message may have been in the hands of a process that died, and is to be handled alone. */
  isSuspect(position: string): boolean
  /** Says what has been handled: a partition that has nothing suspect from there on is handled like any other again. */
  passed(positions: string[]): void
  /** How many processes in a row have died with this message alone: by it, or killed from outside just then. */
  deathsWith(message: Suspect): number
  /** Has a message tried which others died with: if this process dies meanwhile, that is one more. */
  trying<T>(message: Suspect, work: () => Promise<T>): Promise<T>
  /** Handles a message; one that is suspect is noted durably before. `work` says whether it had not been handled yet. */
  alone(message: Suspect, work: () => Promise<boolean>): Promise<void>
  /** Leaves the partitions in order. */
  end(): Promise<void>
}

/** Where a message stands in its topic, and its id: a topic that was made anew has others in the same places. */
export type Suspect = { position: string; id: string | undefined }

export type TakeoverOptions = {
  /** The consumer's name. */
  name: string
  postgres: Pick<Postgres, 'transaction'>
  /** How many messages of a partition a process has in hand at most, so that one of them may have killed it. */
  inHand: number
  /** Where each partition ends now. */
  ends: () => Promise<Map<number, bigint>>
}

/** A message that was begun alone, and by how many processes one after the other. */
type Begun = { id: string; times: number }

/** The part of a partition that a dead process may have had in hand. */
type Wary = {
  /** What was begun alone when its process died. */
  killer: Begun | undefined
  /** Where the partition ended when it was taken over: what came later killed nobody. */
  end: bigint
  /** How many messages may still be it. */
  left: number
}

const takePartitions = `with before as (
    select partition, owner, begun, times from inbox_partitions where consumer = $1 and partition = any ($2::integer[])
  ),
  taken as (
    insert into inbox_partitions (consumer, partition, owner) select $1, partition, $3 from unnest($2::integer[]) as partition
    on conflict (consumer, partition) do update set owner = excluded.owner
  )
  select partition, begun, times from before where owner <> $3`

const beginAlone = `update inbox_partitions set begun = $4, times = $5 where consumer = $1 and partition = $2 and owner = $3`

// What is still to be handled alone stays somebody else's, whoever gets it.
const leavePartitions = `with left_wary as (
    update inbox_partitions set owner = '00000000-0000-0000-0000-000000000000'
    where consumer = $1 and owner = $2 and partition = any ($3::integer[])
  )
  delete from inbox_partitions where consumer = $1 and owner = $2 and partition <> all ($3::integer[])`

const placeOf = (position: string): { partition: number; offset: string } => {
  const [offset = '', partition = ''] = position.split('/').toReversed()
  return { partition: Number(partition), offset }
}

/**
 * Recognises a message that kills the process. A process notes the partitions that it is given, in one statement, and
 * deletes the note when it gives them up: one that died has left it behind. Whoever takes such a partition over handles what
 * the dead may have had in hand one message at a time, each noted before; the one that is noted when this process dies too is
 * accused of it. A message that failed and waits for its next try is not noted: a kill that comes then is not its.
 */
export const createTakeover = ({ name, postgres, inHand, ends }: TakeoverOptions): Takeover => {
  const owner = Bun.randomUUIDv7()
  /** Given, and not noted as taken yet. */
  let untaken: number[] = []
  /** Taken from the dead, each with the id of what was begun alone; how far they go is not known yet. */
  let inherited = new Map<number, Begun | undefined>()
  const wary = new Map<number, Wary>()
  let holds = false
  /** What was given up must not take away the note of what was given since. */
  const inTurn = createTurns()

  const take = () =>
    inTurn(async () => {
      const taking = untaken
      if (taking.length === 0) return
      const rows = await postgres.transaction(
        (transaction) => transaction.run(takePartitions, [name, `{${taking.join(',')}}`, owner]),
        'consumer.take',
      )
      holds = true
      for (const row of rows)
        inherited.set(
          Number(row['partition']),
          row['begun'] === null ? undefined : { id: String(row['begun']), times: Number(row['times']) },
        )
      const ended = inherited.size > 0 ? await ends() : undefined
      // What has been given or lost meanwhile has a turn of its own.
      if (taking !== untaken) return
      untaken = []
      for (const [partition, killer] of inherited) {
        if (taking.includes(partition)) wary.set(partition, { killer, end: ended?.get(partition) ?? 0n, left: inHand })
      }
      inherited = new Map()
    })

  const leave = () => {
    const unsure = `{${[...wary.keys(), ...untaken].join(',')}}`
    untaken = []
    wary.clear()
    return inTurn(async () => {
      if (!holds) return
      await postgres.transaction(
        (transaction) => transaction.run(leavePartitions, [name, owner, unsure]),
        'consumer.leave',
      )
      inherited = new Map()
      holds = false
    })
  }

  const note = (partition: number, begun: Begun | undefined) =>
    postgres.transaction(
      (transaction) => transaction.run(beginAlone, [name, partition, owner, begun?.id ?? null, begun?.times ?? 0]),
      'consumer.begin',
    )

  const isSuspect = (position: string): boolean => {
    const { partition, offset } = placeOf(position)
    const part = wary.get(partition)
    return part !== undefined && part.left > 0 && BigInt(offset) < part.end
  }

  const deathsWith = ({ position, id }: Suspect): number => {
    const killer = isSuspect(position) ? wary.get(placeOf(position).partition)?.killer : undefined
    return killer && killer.id === id ? killer.times : 0
  }

  return {
    given: (partitions) => {
      for (const partition of wary.keys()) if (!partitions.includes(partition)) wary.delete(partition)
      untaken = partitions
      // What fails is done again before the first message is handled.
      take().catch(() => undefined)
    },
    lost: () => void leave().catch(() => undefined),
    begin: async () => {
      if (untaken.length > 0) await take()
    },
    isWary: () => wary.size > 0,
    isSuspect,
    passed: (positions) => {
      for (const position of positions) if (!isSuspect(position)) wary.delete(placeOf(position).partition)
    },
    deathsWith,
    trying: async (message, work) => {
      const { partition } = placeOf(message.position)
      const killer = wary.get(partition)?.killer
      await note(partition, killer && { ...killer, times: killer.times + 1 })
      try {
        return await work()
      } finally {
        await note(partition, killer).catch(() => undefined)
      }
    },
    alone: async ({ position, id }, work) => {
      const { partition } = placeOf(position)
      // Without an id it is parked, not handled.
      if (id === undefined || !isSuspect(position)) return void (await work())
      const part = wary.get(partition)
      await note(partition, { id, times: deathsWith({ position, id }) + 1 })
      try {
        if ((await work()) && part) part.left -= 1
      } catch (error) {
        await note(partition, undefined).catch(() => undefined)
        throw error
      }
    },
    end: leave,
  }
}
