import type { Emit, Received } from '#platform/messaging/message'
import type { Tx } from '#platform/postgres'
import { setTimers } from '#platform/timers'
import { requested } from './announce.ts'
import { chargeTimer } from './calls/charge.ts'
import { request } from './payment.ts'
import { insertPayments } from './repository.ts'

type Asked = { orderId: string; userId: string; amount: number; currency: string; paymentToken: string }

type Parts = { newId: () => string; now: () => Date; unlessCancelled?: boolean }

/** Puts the intent to charge on record for each order that has none, and makes the calls due. */
export const requestCharges = async (
  { tx, emitFor }: { tx: Tx; emitFor(cause: Received): Emit<'payments'> },
  messages: Received[],
  { newId, now, unlessCancelled = false }: Parts,
): Promise<void> => {
  const at = now()
  const causes = new Map(messages.map((message) => [(message.data as Asked).orderId, message]))
  const fresh = [...causes.values()].map(({ data }) => {
    const { orderId, userId, amount, currency, paymentToken } = data as Asked
    return request({ id: newId(), orderId, userId, amount: { amount, currency }, token: paymentToken, at })
  })
  const inserted = await insertPayments(tx, fresh, { unlessCancelled })
  const withCause = inserted.flatMap((payment) => {
    const cause = causes.get(payment.orderId)
    return cause ? [{ payment, cause }] : []
  })
  await setTimers(
    tx,
    withCause.map(({ payment, cause }) => chargeTimer(payment, cause.trace)),
  )
  for (const { payment, cause } of withCause) emitFor(cause)(requested(payment))
}
