import type { Outcome } from '../platform/saga/definition.ts'

/** What payments has on record for one order, what its provider did, and what it has answered. */
export type Payments = {
  payment: { status: 'pending' | 'captured' | 'declined' | 'refunded'; refundAsked: boolean } | null
  charged: number
  refunded: number
  answers: Outcome<never>[]
}

export type ToPayments = 'charge' | 'refund' | 'order-cancelled'

const failure = (code: string) => ({ code, message: `It failed with ${code}.` })

const never: Outcome<never> = { is: 'failed', error: failure('payment-declined') }

/** Does what modules/payments does: it keeps one outcome for an order, whatever it is asked, how often and in what order. */
export const paymentsHear = (shop: Payments, message: ToPayments, busy: boolean): void => {
  const { payment } = shop
  const returnable = payment?.status === 'pending' || payment?.status === 'captured'
  switch (message) {
    case 'charge':
      if (payment) return
      if (busy) shop.answers.push({ is: 'failed', error: failure('busy') })
      else shop.payment = { status: 'pending', refundAsked: false }
      return
    case 'refund':
      if (busy) shop.answers.push({ is: 'undo-failed', error: failure('busy') })
      else if (payment && returnable) shop.payment = { ...payment, refundAsked: true }
      else if (payment?.status === 'refunded') shop.answers.push({ is: 'undone' })
      else {
        // On record even if nothing was: it stands in the way of a charge that comes late.
        shop.payment = { status: 'declined', refundAsked: false }
        shop.answers.push(never)
      }
      return
    case 'order-cancelled':
      if (payment && returnable) shop.payment = { ...payment, refundAsked: true }
  }
}

export const providerCharges = (shop: Payments, captured: boolean): void => {
  if (shop.payment?.status !== 'pending') return
  shop.payment = { ...shop.payment, status: captured ? 'captured' : 'declined' }
  if (captured) shop.charged += 1
  shop.answers.push(captured ? { is: 'done' } : never)
}

export const refundDue = ({ payment }: Payments): boolean => payment?.status === 'captured' && payment.refundAsked

export const providerRefunds = (shop: Payments): void => {
  if (!shop.payment || !refundDue(shop)) return
  shop.payment = { ...shop.payment, status: 'refunded' }
  shop.refunded += 1
  shop.answers.push({ is: 'undone' })
}

/** An operator sees to it that no money stays taken; false while that cannot be known. */
export const settleByHand = (shop: Payments): boolean => {
  const { payment } = shop
  if (payment?.status === 'pending') return false
  if (payment?.status === 'captured') {
    shop.payment = { ...payment, status: 'refunded' }
    shop.refunded += 1
  }
  shop.payment ??= { status: 'declined', refundAsked: false }
  return true
}
