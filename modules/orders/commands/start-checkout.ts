import { newCheckout } from '../checkout.ts'
import { type CheckoutSnapshot, toCheckoutSnapshot } from '../checkout-snapshot.ts'
import type { Context } from '../context.ts'
import { mergeLines, priceLines } from '../order.ts'
import { readProducts, refuseClosedUser } from '../repository.ts'
import type { PlaceOrder } from './place-order.ts'

/**
 * Begins the orchestration and takes it as far as the charge. What no checkout could ever buy is refused here; a stock that
 * is too small fails the first step.
 * @throws DomainError `unknown-sku`, `mixed-currencies`, `account-closed`
 */
export const startCheckout = (
  context: Context,
  { userId, lines, paymentToken }: PlaceOrder,
): Promise<CheckoutSnapshot> =>
  context.transact(async (tx, emit, transaction) => {
    const wanted = mergeLines(lines)
    const [products] = await Promise.all([
      readProducts(
        tx,
        wanted.map(({ sku }) => sku),
      ),
      refuseClosedUser(tx, userId),
    ])
    priceLines(wanted, products)
    const orderId = context.newId()
    const saga = await context.checkouts.start(
      { transaction, emit, trace: context.trace, now: context.now() },
      {
        id: context.newId(),
        replyKey: orderId,
        data: newCheckout({ userId, orderId, paymentToken, wanted }),
      },
    )
    return toCheckoutSnapshot(saga)
  })
