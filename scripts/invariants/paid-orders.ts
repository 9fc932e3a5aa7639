import { type Findings, type Sources, uuids } from './invariant.ts'
import { type Judge, type Order, type Payment, amountOf, isSame, paymentColumns, toOrder, toPayment } from './rows.ts'

/** Every order and every payment by order id, in pages of the same stretch of ids. */
export async function* ordersAgainstPayments({ databases: { orders, payments } }: Sources, judge: Judge): Findings {
  const size = 2_000
  const paid = `select ${paymentColumns} from payments where order_id > $1 and order_id <= $2`
  for (let after = uuids.first; after !== uuids.last;) {
    const page = (
      await orders.run(
        'select id, status, total_amount, currency, payment_id from orders where id > $1 order by id limit $2',
        [after, size],
      )
    ).map(toOrder)
    const last = page.length < size ? uuids.last : (page.at(-1)?.id ?? uuids.last)
    const left = new Map(
      (await payments.run(paid, [after, last])).map(toPayment).map((payment) => [payment.orderId, payment]),
    )
    for (const order of page) {
      const payment = left.get(order.id)
      left.delete(order.id)
      for (const line of compareOrder(order, payment)) yield judge(line, order.id, payment?.id, order.paymentId)
    }
    for (const { id, orderId, status } of left.values()) {
      if (status === 'captured' || status === 'refunded')
        yield judge(`payment ${id} is ${status}, and there is no order ${orderId}`, id, orderId)
    }
    after = last
  }
}

function* compareOrder(order: Order, payment: Payment | undefined): Generator<string> {
  const name = `order ${order.id} is ${order.status}`
  if (order.status !== 'confirmed') {
    if (payment?.status === 'captured')
      yield `${name}, and its payment ${payment.id} is captured (charge ${payment.chargeId})`
    return
  }
  if (!payment) return yield `${name} by payment ${order.paymentId}, which there is not`
  if (payment.status !== 'captured') yield `${name}, and its payment ${payment.id} is ${payment.status}`
  if (payment.id !== order.paymentId) yield `${name} by payment ${order.paymentId}, and its payment is ${payment.id}`
  if (!isSame(order, payment))
    yield `${name} with a total of ${amountOf(order)}, and its payment ${payment.id} is of ${amountOf(payment)}`
}
