import { expect, test } from 'bun:test'
import { eventually } from '../test/eventually.ts'
import { door, keptLog } from '../test/mechanism.ts'
import { silent } from '../test/messaging.ts'
import { type WorkerOptions, createWorker } from './worker.ts'

/** A worker that notes when its rounds begin. */
const workerOf = (round: (count: number) => Promise<number> | number, options: Partial<WorkerOptions> = {}) => {
  const rounds: number[] = []
  const worker = createWorker({
    round: async () => round(rounds.push(performance.now())),
    pollMs: 60_000,
    log: silent,
    name: 'test',
    enabled: true,
    ...options,
  })
  return {
    ...worker,
    rounds,
    reaches: (count: number) => eventually(() => expect(rounds.length).toBeGreaterThanOrEqual(count)),
  }
}

test('a round follows at once while there is more to do, after the pause that was asked for, and at least each poll', async () => {
  const worker = workerOf((count) => [0, 50, Infinity][count - 1] ?? Infinity, { pollMs: 1_000 })
  worker.start()
  await worker.reaches(4)
  await worker.stop()
  const [first = 0, second = 0, third = 0, fourth = 0] = worker.rounds
  expect(second - first).toBeLessThan(900)
  expect(third - second).toBeGreaterThanOrEqual(48)
  expect(fourth - third).toBeGreaterThanOrEqual(998)
})

test('a wake in the middle of a round is not lost, and rounds never overlap', async () => {
  const slow = door()
  let [running, most] = [0, 0]
  const worker = workerOf(async (count) => {
    most = Math.max(most, (running += 1))
    if (count === 1) await slow.pass()
    running -= 1
    return Infinity
  })
  worker.start()
  worker.start()
  await slow.reached
  worker.wake()
  worker.wake()
  expect(worker.rounds).toHaveLength(1)
  slow.open()
  await worker.reaches(2)
  worker.wake()
  await worker.reaches(3)
  await worker.stop()
  expect([worker.rounds.length, most]).toEqual([3, 1])
})

test('a round that fails is tried again after a back-off, and says so', async () => {
  const { log, lines } = keptLog()
  const worker = workerOf(
    (count) => {
      if (count < 3) throw new Error('away')
      return Infinity
    },
    { log },
  )
  worker.start()
  await worker.reaches(3)
  await worker.stop()
  const [first = 0, second = 0, third = 0] = worker.rounds
  // At least the half of 50 ms, then of 100 ms.
  expect(second - first).toBeGreaterThan(23)
  expect(third - second).toBeGreaterThan(48)
  expect(lines.map(({ fields }) => [fields['worker'], fields['error'], fields['failures']])).toEqual([
    ['test', 'away', 1],
    ['test', 'away', 2],
  ])
})

test('a stop waits for the round that runs, ends a pause at once, and no round follows', async () => {
  const slow = door()
  let ended = false
  const busy = workerOf(async () => {
    await slow.pass()
    ended = true
    return 0
  })
  busy.start()
  await slow.reached
  const stopped = busy.stop()
  slow.open()
  await stopped
  expect([ended, busy.rounds.length]).toEqual([true, 1])

  const pausing = workerOf(() => Infinity)
  pausing.start()
  await pausing.reaches(1)
  await pausing.stop()
  pausing.start()
  pausing.wake()
  expect(pausing.rounds).toHaveLength(1)
})

test('a worker that is not enabled, or was never started, does nothing and stops', async () => {
  const [disabled, unstarted] = [workerOf(() => 0, { enabled: false }), workerOf(() => 0)]
  disabled.start()
  disabled.wake()
  unstarted.wake()
  await Promise.all([disabled.stop(), unstarted.stop()])
  expect([disabled.rounds, unstarted.rounds]).toEqual([[], []])
})
