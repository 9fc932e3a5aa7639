import { orRefusal } from '#platform/errors'
import { type ForAll, unlessRefused } from '#platform/messaging/together'
import { newCheckout } from '../checkout.ts'
import { type CheckoutSnapshot, toCheckoutSnapshot } from '../checkout-snapshot.ts'
import type { Context } from '../context.ts'
import { mergeLines, priceLines, skusOf } from '../order.ts'
import { accountClosed, closedAmong, readProducts } from '../repository.ts'
import type { PlaceOrder, Purchase } from './place-order.ts'

/**
 * Begins the orchestration and takes it as far as the charge. What no checkout could ever buy is refused here; a stock that
 * is too small fails the first step.
 * @throws DomainError `unknown-sku`, `mixed-currencies`, `account-closed`
 */
export const startCheckout = (
  context: Context,
  { userId, lines, paymentToken }: PlaceOrder,
): Promise<CheckoutSnapshot> =>
  context.together(startCheckouts, { context, userId, wanted: mergeLines(lines), paymentToken })

const startCheckouts: ForAll<'orders', Purchase, CheckoutSnapshot> = async (transaction, members) => {
  const [first] = members
  if (!first) return []
  const { tx } = transaction
  const requests = members.map(({ request }) => request)
  const [products, closed] = await Promise.all([readProducts(tx, skusOf(requests)), closedAmong(tx, requests)])
  const begun = members.map(({ request: { context, userId, wanted, paymentToken }, emit }) =>
    orRefusal(() => {
      if (closed.has(userId)) throw accountClosed()
      priceLines(wanted, products)
      const orderId = context.newId()
      const data = newCheckout({ userId, orderId, paymentToken, wanted })
      return { id: context.newId(), replyKey: orderId, data, trace: context.trace, emit }
    }),
  )
  const { checkouts, now } = first.request.context
  return unlessRefused(begun, async (accepted) =>
    (await checkouts.start({ transaction, now: now() }, accepted)).map(toCheckoutSnapshot),
  )
}
