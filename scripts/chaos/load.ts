import { sleep } from '#platform/retry'
import {
  type World,
  cancelOrder,
  changePrice,
  changeStock,
  closeSomebody,
  placeOrder,
  refundPayment,
  register,
  renameUser,
  settle,
  signOut,
  startCheckout,
} from './commands.ts'
import { watched } from './record.ts'

export type LoadOptions = { perSecond: number; workers: number; signal: AbortSignal }

const somebody = ({ record, random }: World) => random.pick(record.customers.filter(({ closing }) => !closing))

/** Out of a hundred commands, which. */
const mix: [number, (world: World) => Promise<unknown>][] = [
  [14, (world) => placeOrder(world, somebody(world))],
  [6, (world) => startCheckout(world, somebody(world))],
  [5, cancelOrder],
  [2, refundPayment],
  [22, changeStock],
  [3, changePrice],
  [48, renameUser],
]

const draw = (world: World) => {
  let at = world.random.between(0, 100)
  return mix.find(([share]) => (at -= share) < 0)?.[1] ?? renameUser
}

/** What happens now and then, each so many seconds after the last. */
const rare: [number, (world: World, begunAt: Date) => Promise<unknown>][] = [
  [8, register],
  [15, signOut],
  [12, closeSomebody],
  [10, settle],
]

/**
 * Sends commands until the signal and resolves when each has been answered or given up. They are due at a steady rate: what
 * a stall has kept is sent afterwards, as fast as the workers can.
 */
export const keepBusy = async (world: World, { perSecond, workers, signal }: LoadOptions): Promise<void> => {
  const begunAt = performance.now()
  const begun = new Date()
  let next = 0

  const worker = async () => {
    while (!signal.aborted) {
      const dueAt = begunAt + ((next += 1) * 1_000) / perSecond
      await sleep(Math.max(0, dueAt - performance.now()), signal)
      if (!signal.aborted) await watched(world.record, 'a command', async () => void (await draw(world)(world)))
    }
  }
  const now = async ([everySeconds, work]: (typeof rare)[number]) => {
    for (;;) {
      await sleep(everySeconds * 1_000, signal)
      if (signal.aborted) return
      await watched(world.record, 'a command', async () => void (await work(world, begun)))
    }
  }
  await Promise.all([...Array.from({ length: workers }, worker), ...rare.map(now)])
}
