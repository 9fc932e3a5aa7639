import { z } from 'zod'
import type { Log } from '#platform/log'
import type { Trace } from '#platform/messaging/message'
import { type NewTimer, onTimer } from '#platform/timers'
import { cancelled } from '../cancelled.ts'
import { cancel } from '../order.ts'
import { lockOrders, returnStock, updateOrders } from '../repository.ts'

export const orderDeadlineKind = 'order-deadline'

const data = z.object({ orderId: z.uuid() })

export const orderDeadline = (orderId: string, inMs: number, trace: Trace): NewTimer => ({
  kind: orderDeadlineKind,
  key: orderId,
  inMs,
  data: { orderId },
  trace,
})

/** Reports and cancels an order that is still pending at its deadline; payments gives back what it took or takes later. */
export const onOrderDeadline = (log: Log) =>
  onTimer<'orders', z.infer<typeof data>>(
    orderDeadlineKind,
    data,
    async ({ tx, emit }, { data: { orderId }, trace }) => {
      const order = (await lockOrders(tx, [orderId])).get(orderId)
      if (order?.status !== 'pending') return
      log.warn({ orderId, correlationId: trace.correlationId }, 'an order was not paid for in time; it is cancelled')
      const ended = cancel(order, 'timed-out')
      await updateOrders(tx, [ended])
      await returnStock(tx, [ended])
      emit(cancelled(ended))
    },
  )
