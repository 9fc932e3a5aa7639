import { type Breaches, type PlantingOn, both } from './planting.ts'
import type { SystemAtRest } from './system-at-rest.ts'

/** What has not come to an end. */
export const openEnds = ({ done }: SystemAtRest, planting: PlantingOn): Breaches => {
  const { about, change, changeOrder, changePayment, moveStock, saga } = planting
  const { compensated, settled } = done
  const [declined = '', undecided = ''] = done.declined
  const [completed = compensated, completedToo = compensated] = done.completed
  return {
    'an order that is still pending': {
      says: [`order ${declined} is pending since`],
      ...both(
        changeOrder(declined, `status = 'pending', reason = null`, `status = 'cancelled', reason = 'declined'`),
        moveStock('tea', -2),
      ),
    },
    'a checkout that is still running': {
      says: [`checkout ${completed.id} is running since`],
      ...saga(completed.id, { column: 'running', state: 'running' }),
    },
    'a checkout that is still compensating, with the stock that it holds': {
      says: [`checkout ${compensated.id} is compensating since`],
      ...both(
        saga(compensated.id, { column: 'compensating', state: 'compensating', data: { stockHeld: true } }),
        moveStock('cup', -3),
      ),
    },
    'a checkout that was compensated and left its order': {
      says: [`checkout ${completedToo.id} is compensated, and its order ${completedToo.orderId} is confirmed`],
      ...saga(completedToo.id, { column: 'compensated', state: 'compensated' }),
    },
    'a payment that is still pending': {
      says: [`of order ${undecided} is pending since`],
      ...change(
        `update payments.payments set status = 'pending' where order_id = '${undecided}'`,
        `update payments.payments set status = 'declined' where order_id = '${undecided}'`,
      ),
    },
    'a refund that was asked for and forgotten': about(({ id, payment }) => ({
      says: [`payment ${payment} of order ${id} was to be refunded`],
      ...changePayment(payment, 'refund_asked = true', 'refund_asked = false'),
    })),
    'a settlement that is still running': {
      says: [`settlement ${settled} is running since`],
      ...both(
        change(
          `update payments.jobs set status = 'running', done = done - 1 where id = '${settled}'`,
          `update payments.jobs set status = 'completed', done = done + 1 where id = '${settled}'`,
        ),
        change(
          `update payments.job_tasks set status = 'pending' where job_id = '${settled}' and task = 0`,
          `update payments.job_tasks set status = 'done' where job_id = '${settled}' and task = 0`,
        ),
      ),
    },
  }
}
