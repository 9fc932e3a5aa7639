import { Database } from 'bun:sqlite'
import { expect } from 'bun:test'
import { type Breaches, type Planting, type PlantingOn, both } from './planting.ts'
import type { SystemAtRest } from './system-at-rest.ts'

/** Calls of the provider that payments knows nothing of. */
const providerOf = ({ environment, ledger }: SystemAtRest) => {
  const post = async (path: string, body: object): Promise<string> => {
    const headers = { 'idempotency-key': Bun.randomUUIDv7() }
    const url = `${environment['PAYMENT_PROVIDER_URL']}${path}`
    const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) })
    expect(response.status).toBe(201)
    return ((await response.json()) as { id: string }).id
  }
  return {
    /** Once it is given back, all is well. */
    charging: (reference: () => string | Promise<string>): Planting => {
      let charge = ''
      return {
        plant: async () => {
          charge = await post('/charges', {
            token: 'tok_visa',
            amount: 7,
            currency: 'EUR',
            reference: await reference(),
          })
        },
        mend: () => post('/refunds', { charge, amount: 7, reference: 'by hand' }),
      }
    },
    givingBack: (chargeOf: () => Promise<string>): Planting => ({
      plant: async () => post('/refunds', { charge: await chargeOf(), amount: 7, reference: 'by hand' }),
      mend: async () => {
        const database = new Database(ledger)
        database.run(`delete from entries where kind = 'refund' and charge = ?`, [await chargeOf()])
        database.close()
      },
    }),
  }
}

/** Differences between the provider's ledger, payments and orders. */
export const moneyBreaches = (system: SystemAtRest, planting: PlantingOn): Breaches => {
  const { run, about, change, changeOrder, changePayment, moveStock } = planting
  const { charging, givingBack } = providerOf(system)
  const [declined = ''] = system.done.declined
  const nobody = Bun.randomUUIDv7()

  const paymentOf = async (order: string, column: 'id' | 'charge_id'): Promise<string> =>
    String((await run(`select ${column} from payments.payments where order_id = $1`, [order]))[0]?.[column])

  return {
    'a charge at the provider that no payment knows': {
      says: ['EUR: ', `there is no payment ${nobody}`],
      ...charging(() => nobody),
    },
    'a second charge for one payment': about(({ id, payment }) => ({
      says: [`payment ${payment} of order ${id} was charged already, by ch_`],
      ...charging(() => payment),
    })),
    'a charge for a payment that was declined': {
      says: [`of order ${declined} is declined`],
      ...charging(() => paymentOf(declined, 'id')),
    },
    'money that went back at the provider alone': about(({ id, payment }) => ({
      says: [`payment ${payment} of order ${id} is captured, and 7 of 998 went back`],
      ...givingBack(() => paymentOf(id, 'charge_id')),
    })),
    'money that never went back': about(({ id, payment }) => ({
      says: [
        `payment ${payment} of order ${id} is refunded, and 0 of 998 went back`,
        `order ${id} is confirmed, and its payment ${payment} is refunded`,
      ],
      ...changePayment(payment, `status = 'refunded', refunded_at = now()`, `status = 'captured', refunded_at = null`),
    })),
    'a charge that the provider does not know': about(({ id, payment }) => ({
      says: [`payment ${payment} of order ${id} is captured by charge ch_gone`],
      ...changePayment(payment, `charge_id = 'ch_gone' || charge_id`, 'charge_id = substr(charge_id, 8)'),
    })),
    'two payments that name each other’s charge': about(({ payment: one }) =>
      about(({ payment: other }) => {
        const swap = `update payments.payments as mine set charge_id = theirs.charge_id from payments.payments as theirs
          where (mine.id, theirs.id) in (('${one}', '${other}'), ('${other}', '${one}'))`
        return {
          says: [`which is for ${one} at the provider`, `which is for ${other} at the provider`],
          ...change(swap, swap),
        }
      }),
    ),
    'a payment of another amount': about(({ id, payment }) => ({
      says: [
        `payment ${payment} of order ${id} is of 999 EUR, and its charge `,
        `order ${id} is confirmed with a total of 998 EUR, and its payment ${payment} is of 999 EUR`,
      ],
      ...changePayment(payment, 'amount = amount + 1', 'amount = amount - 1'),
    })),
    'an order of another currency': about(({ id }) => ({
      says: [
        'USD: 0 at the provider, 0 in payments, 998 in confirmed orders',
        `order ${id} is confirmed with a total of 998 USD`,
      ],
      ...changeOrder(id, `currency = 'USD'`, `currency = 'EUR'`),
    })),
    'a captured payment of a cancelled order': about(({ id, payment }) => ({
      says: [`order ${id} is cancelled, and its payment ${payment} is captured`],
      ...both(
        changeOrder(id, `status = 'cancelled', reason = 'requested'`, `status = 'confirmed', reason = null`),
        moveStock('tea', 2),
      ),
    })),
    'a confirmed order that names another payment': about(({ id, payment }) => ({
      says: [`order ${id} is confirmed by payment ${nobody}, and its payment is ${payment}`],
      ...changeOrder(id, `payment_id = '${nobody}'`, `payment_id = '${payment}'`),
    })),
  }
}

/** Rows that are gone: what they held, and what tells of them, is left. */
export const lostRows = ({ about, removal }: PlantingOn): Breaches => ({
  'a confirmed order without a payment': about(({ id, payment }) => ({
    says: [
      `order ${id} is confirmed by payment ${payment}, which there is not`,
      `there is no payment ${payment}`,
      `payment-events: ${payment} has an event 2 and no row`,
    ],
    ...removal('payments.payments', payment),
  })),
  'a charge without an order': about(({ id, payment }) => ({
    says: [
      'product tea: ',
      `payment ${payment} is captured, and there is no order ${id}`,
      `order-events: ${id} has an event 2 and no row`,
    ],
    ...removal('orders.orders', id),
  })),
})
