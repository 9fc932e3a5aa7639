import { type Findings, type Sources, arrayOf, isUuid, pages } from './invariant.ts'
import type { Charge } from './ledger.ts'
import { type Judge, type Payment, amountOf, isSame, paymentColumns, toPayment } from './rows.ts'

/** Payments that took money, each against the charge it names; the charges that are left afterwards are nobody's. */
export async function* paymentsAgainstLedger(
  { databases: { payments } }: Sources,
  charges: Map<string, Charge>,
  judge: Judge,
): Findings {
  const taken = `select ${paymentColumns} from payments where status in ('captured', 'refunded') and id > $1 order by id limit $2`
  for await (const rows of pages(payments.run, taken)) {
    for (const payment of rows.map(toPayment)) {
      const charge = charges.get(payment.chargeId ?? '')
      charges.delete(payment.chargeId ?? '')
      for (const line of compareCharge(payment, charge)) yield judge(line, payment.id, payment.orderId)
    }
  }
  // What was given back whole, by hand at the provider, is settled.
  const left = [...charges].filter(([, { amount, refunded }]) => refunded < amount)
  for (let start = 0; start < left.length; start += 500) {
    const part = left.slice(start, start + 500)
    const references = arrayOf(part.map(([, { reference }]) => reference).filter(isUuid))
    const rows = await payments.run(`select ${paymentColumns} from payments where id = any ($1::uuid[])`, [references])
    const named = new Map(rows.map(toPayment).map((payment) => [payment.id, payment]))
    for (const [id, charge] of part) {
      const payment = named.get(charge.reference)
      yield judge(
        `charge ${id} of ${amountOf(charge)} at the provider: ${whoseItIs(charge, payment)}`,
        charge.reference,
        payment?.orderId,
      )
    }
  }
}

function* compareCharge(payment: Payment, charge: Charge | undefined): Generator<string> {
  const { id, orderId, status, chargeId, amount } = payment
  const name = `payment ${id} of order ${orderId}`
  if (!charge) return yield `${name} is ${status} by charge ${chargeId}, which the provider has not`
  if (charge.reference !== id)
    yield `${name} is ${status} by charge ${chargeId}, which is for ${charge.reference} at the provider`
  if (!isSame(charge, payment))
    yield `${name} is of ${amountOf(payment)}, and its charge ${chargeId} of ${amountOf(charge)}`
  const returned = status === 'refunded' ? amount : 0
  if (charge.refunded !== returned)
    yield `${name} is ${status}, and ${charge.refunded} of ${charge.amount} went back at the provider (charge ${chargeId})`
}

const whoseItIs = ({ reference }: Charge, payment: Payment | undefined): string => {
  if (!payment) return `there is no payment ${reference}`
  const name = `payment ${payment.id} of order ${payment.orderId}`
  return payment.chargeId === null
    ? `${name} is ${payment.status}`
    : `${name} was charged already, by ${payment.chargeId}`
}
