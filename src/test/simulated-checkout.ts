import type { decide } from '../platform/saga/decide.ts'
import {
  type Input,
  type Operation,
  type Outcome,
  type SagaDefinition,
  type SagaState,
  type StepDefinition,
  type Waiting,
  ended,
  initialState,
} from '../platform/saga/definition.ts'
import { nextToUndo } from '../platform/saga/undo.ts'
import {
  type Payments,
  type ToPayments,
  paymentsHear,
  providerCharges,
  providerRefunds,
  refundDue,
  settleByHand,
} from './simulated-payments.ts'

/** What the saga knows. */
type Known = { stockHeld: boolean }

export type Decide = typeof decide<Known>

/** One piece in stock, and one customer who checks it out. */
export type Shop = Payments & {
  saga: SagaState<Known>
  order: 'none' | 'pending' | 'confirmed' | 'cancelled'
  stock: number
  asked: ToPayments[]
  /** Every timer that was set and has not fired, also those that were cancelled since: they may be firing just now. */
  timers: Waiting[]
  /** The steps whose compensation began, and the local ones that it had its effect on. */
  begun: string[]
  undone: string[]
}

/** A local step that fails, or payments that does not listen; `busy` may pass. */
export type Trouble = { step: string; code: 'refused' | 'busy' } | null

/** Something that happens. `pick` chooses among the messages, or the timers; one that is `kept` comes again. */
export type Move = {
  what:
    | 'payments hears'
    | 'payments answers'
    | 'a timer fires'
    | 'the provider charges'
    | 'the provider declines'
    | 'the provider refunds'
    | 'the order is cancelled'
    | 'support refunds'
    | Operation
  pick: number
  kept: boolean
  /** The process dies before it commits. */
  crash: boolean
  trouble: Trouble
}

const local: Omit<StepDefinition, 'name' | 'compensation'> = {
  kind: 'local',
  timeoutMs: 0,
  retries: 0,
  retryOn: ['busy'],
  undoRetries: 0,
  backoff: { firstMs: 1_000, maxMs: 60_000 },
}

/** The steps of a checkout, with as many tries as are given. */
export const checkoutWith = ({ retries, undoRetries }: { retries: number; undoRetries: number }): SagaDefinition => ({
  name: 'checkout',
  steps: [
    { ...local, undoRetries, name: 'reserve-stock', compensation: 'local' },
    { ...local, undoRetries, name: 'create-order', compensation: 'local' },
    {
      ...local,
      undoRetries,
      retries,
      name: 'charge-payment',
      kind: 'command',
      compensation: 'command',
      timeoutMs: 500,
    },
    { ...local, retries, name: 'confirm-order', compensation: 'none' },
  ],
})

const now = new Date('2026-01-31T12:00:00Z')

/** Ends a story in which something happens that never may. */
const must = (holds: boolean, what: string): void => {
  if (!holds) throw new Error(`It must never happen that ${what}.`)
}

const run = (shop: Shop, step: string): Outcome<Known> => {
  switch (step) {
    case 'reserve-stock':
      shop.stock -= 1
      return { is: 'done', data: { stockHeld: true } }
    case 'create-order':
      shop.order = 'pending'
      return { is: 'done' }
    case 'confirm-order':
      if (shop.order !== 'pending') return { is: 'failed', error: { code: 'order-not-pending', message: 'It is not.' } }
      shop.order = 'confirmed'
      return { is: 'done' }
    default:
      throw new Error(`${step} is no local step.`)
  }
}

const undo = (shop: Shop, step: string): Outcome<Known> => {
  must(!shop.undone.includes(step), `${step} is undone twice`)
  shop.undone.push(step)
  const { saga, order, payment } = shop
  switch (step) {
    case 'create-order': {
      const asked = saga.steps.some(({ name, attempt }) => name === 'charge-payment' && attempt > 0)
      const settled = payment?.status === 'declined' || payment?.status === 'refunded'
      must(!asked || settled, 'an order is cancelled whose money is, or may yet be, taken')
      if (order === 'cancelled') return { is: 'undone', data: { stockHeld: false } }
      shop.order = 'cancelled'
      shop.asked.push('order-cancelled')
      return { is: 'undone' }
    }
    case 'reserve-stock':
      if (!saga.data.stockHeld) return { is: 'undone' }
      must(order === 'none' || order === 'cancelled', 'the stock of an order is given back before it is cancelled')
      shop.stock += 1
      return { is: 'undone', data: { stockHeld: false } }
    default:
      throw new Error(`${step} has no local compensation.`)
  }
}

/** An operator does a compensation by hand, so that it may be skipped; false when that is not possible now. */
const undoByHand = (shop: Shop): boolean => {
  const step = nextToUndo(shop.saga)?.name
  if (step === 'charge-payment') return settleByHand(shop)
  if (step === 'create-order') shop.order = 'cancelled'
  if (step === 'reserve-stock' && shop.saga.data.stockHeld) shop.stock += 1
  return true
}

const cancelOrder = (shop: Shop): void => {
  shop.order = 'cancelled'
  shop.stock += 1
  shop.asked.push('order-cancelled')
}

/** Takes one, or reads it and leaves it to come again. */
const take = <Item>(items: Item[], { pick, kept }: Move): Item | undefined => {
  const index = pick % Math.max(1, items.length)
  return kept ? items[index] : items.splice(index, 1)[0]
}

/** One transaction. A process that dies leaves what the rows hold, and the next one reads it back from them. */
const transact = (shop: Shop, crash: boolean, work: (draft: Shop) => void): Shop => {
  const { asked, answers, timers, begun, undone } = shop
  const lists = {
    asked: [...asked],
    answers: [...answers],
    timers: [...timers],
    begun: [...begun],
    undone: [...undone],
  }
  const draft = { ...shop, ...lists }
  work(draft)
  return crash ? { ...shop, saga: JSON.parse(JSON.stringify(shop.saga)) as SagaState<Known> } : draft
}

/** What is under way; time passes only when nothing else is. */
const nextOf = (shop: Shop): Move['what'] | undefined => {
  if (shop.asked.length > 0) return 'payments hears'
  if (shop.payment?.status === 'pending') return 'the provider charges'
  if (refundDue(shop)) return 'the provider refunds'
  if (shop.answers.length > 0) return 'payments answers'
  return shop.saga.timer ? 'a timer fires' : undefined
}

/** A shop whose checkout is decided by `decide`. Nothing that a shop holds is changed in place. */
export const simulate = (decide: Decide, definition: SagaDefinition) => {
  const position = (name: string) => definition.steps.findIndex((step) => step.name === name)

  /** The saga hears something, and is taken as far as its local steps go. */
  const hear = (shop: Shop, first: Input<Known>, trouble: Trouble): void => {
    const before = shop.saga
    for (let input: Input<Known> | undefined = first; input;) {
      const { state, action } = decide(definition, shop.saga, input, now)
      must(!ended(shop.saga.status) || state === shop.saga, 'a saga that has ended goes on')
      must(shop.saga.error === null || state.error?.code === shop.saga.error.code, 'the first error is forgotten')
      must(action === null || state !== shop.saga, 'what was absorbed has an effect')
      shop.saga = state
      input = undefined
      if (action?.do === 'undo' || action?.do === 'send-undo') begin(shop, action.step)
      if (action?.do === 'send') shop.asked.push('charge')
      if (action?.do === 'send-undo') shop.asked.push('refund')
      if (action?.do === 'run' || action?.do === 'undo') {
        const outcome = act(shop, action.do, action.step, trouble)
        input = { type: 'outcome', step: action.step, outcome }
      }
    }
    const { status, timer } = shop.saga
    const onItsWay = status === 'running' || status === 'compensating'
    must(onItsWay === (timer !== null), 'a saga forgets, or wakes up when it rests')
    if (timer && timer !== before.timer) shop.timers.push(timer)
  }

  const begin = (shop: Shop, step: string): void => {
    const last = shop.begun.at(-1)
    must(last === undefined || position(step) <= position(last), `${step} is undone after ${last}`)
    if (last !== step) shop.begun.push(step)
  }

  const act = (shop: Shop, what: 'run' | 'undo', step: string, trouble: Trouble): Outcome<Known> => {
    if (trouble?.step !== step) return what === 'run' ? run(shop, step) : undo(shop, step)
    return {
      is: what === 'run' ? 'failed' : 'undo-failed',
      error: { code: trouble.code, message: 'There is trouble.' },
    }
  }

  const answer = (shop: Shop, outcome: Outcome<Known>, trouble: Trouble): void => {
    hear(shop, { type: 'outcome', step: 'charge-payment', outcome }, trouble)
    // By choreography, once the checkout is over.
    if (outcome.is === 'undone' && shop.order === 'confirmed') cancelOrder(shop)
  }

  const fire = (shop: Shop, { step, phase, attempt }: Waiting, trouble: Trouble): void => {
    const { saga } = shop
    const due = saga.timer?.step === step && saga.timer.phase === phase && saga.timer.attempt === attempt
    hear(shop, { type: 'timeout', step, phase, attempt }, trouble)
    must(due || shop.saga === saga, 'a timer of the past is obeyed')
  }

  const happen = (shop: Shop, move: Move): void => {
    const { what, trouble } = move
    switch (what) {
      case 'payments hears': {
        const message = take(shop.asked, move)
        if (message) paymentsHear(shop, message, trouble?.step === 'charge-payment')
        return
      }
      case 'payments answers': {
        const outcome = take(shop.answers, move)
        if (outcome) answer(shop, outcome, trouble)
        return
      }
      case 'a timer fires': {
        const timer = take(shop.timers, move)
        if (timer) fire(shop, timer, trouble)
        return
      }
      case 'the provider charges':
        return providerCharges(shop, true)
      case 'the provider declines':
        return providerCharges(shop, false)
      case 'the provider refunds':
        return providerRefunds(shop)
      case 'support refunds':
        return paymentsHear(shop, 'order-cancelled', false)
      case 'the order is cancelled': {
        if (shop.order === 'none' || shop.order === 'cancelled') return
        const outcome = { is: 'undone', data: { stockHeld: false } } as const
        hear(shop, { type: 'outcome', step: 'create-order', outcome }, trouble)
        return cancelOrder(shop)
      }
      case 'skip':
        if (shop.saga.status !== 'needs-operator' || !undoByHand(shop)) return
        return hear(shop, { type: what, by: 'grace' }, trouble)
      case 'retry':
      case 'compensate':
        return hear(shop, { type: what, by: 'grace' }, trouble)
    }
  }

  const move = (shop: Shop, next: Move): Shop => transact(shop, next.crash, (draft) => happen(draft, next))

  return {
    /** The shop of a checkout that has just begun. */
    open: (trouble: Trouble): Shop => {
      const saga = initialState(definition, { stockHeld: false })
      const nothing = { asked: [], answers: [], timers: [], begun: [], undone: [] }
      const shop: Shop = { saga, order: 'none', stock: 1, payment: null, charged: 0, refunded: 0, ...nothing }
      return transact(shop, false, (draft) => hear(draft, { type: 'started' }, trouble))
    },
    move,
    /** Lets everything that is under way arrive, and time pass, with the same trouble all along, until nothing more happens. */
    settle: (begun: Shop, trouble: Trouble): Shop => {
      let shop = begun
      for (let rounds = 0; rounds < 1_000; rounds += 1) {
        const what = nextOf(shop)
        if (!what) return shop
        const timers = shop.saga.timer ? [shop.saga.timer] : []
        shop = move({ ...shop, timers }, { what, pick: 0, kept: false, crash: false, trouble })
      }
      throw new Error('It must never happen that a shop does not come to rest.')
    },
  }
}

/** What must hold when nothing more happens. @throws Error with the sentence that does not */
export const checkAtRest = ({ saga, order, stock, payment, charged, refunded }: Shop): void => {
  const money = charged - refunded
  must(charged <= 1 && refunded <= charged, 'money moves twice')
  switch (saga.status) {
    case 'completed':
      if (order === 'cancelled') return must(money === 0 && stock === 1, 'an order cancelled later is not undone')
      must(order === 'confirmed', 'a completed checkout has no order')
      return must(money === 1 && stock === 0 && payment?.status === 'captured', 'a completed checkout is not paid')
    case 'compensated':
      must(money === 0 && payment?.status !== 'captured', 'a compensated checkout keeps the money')
      must(order === 'none' || order === 'cancelled', 'a compensated checkout leaves its order')
      return must(stock === 1, 'a compensated checkout does not give its stock back exactly once')
    case 'needs-operator':
      return must(nextToUndo(saga) !== undefined, 'an operator is asked about nothing')
    case 'running':
    case 'compensating':
      throw new Error('It must never happen that a checkout rests on its way.')
  }
}
