import type { World } from '../commands.ts'
import { listOrders, verifyCheckouts, verifyNoMore, verifyOrders, verifyStock } from './orders.ts'
import { verifyRefunds, verifySettlements, verifySums } from './payments.ts'
import { verifySignOuts, verifyUsers } from './users.ts'

/** Compares everything that was answered with what is there now. What does not fit becomes a breach. */
export const verify = async (world: World, provider: string, from: Date): Promise<void> => {
  const listed = await listOrders(world)
  await verifyOrders(world, listed)
  verifyNoMore(world, listed, await verifyCheckouts(world, listed))
  await verifyStock(world, listed)
  await verifyUsers(world)
  await verifyRefunds(world, listed)
  await verifySettlements(world)
  await verifySignOuts(world)
  await verifySums(world, provider, from)
}
