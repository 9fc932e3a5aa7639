import { afterAll, expect, setDefaultTimeout, test } from 'bun:test'
import {
  type GraphQLField,
  buildClientSchema,
  getIntrospectionQuery,
  getNamedType,
  isLeafType,
  isObjectType,
} from 'graphql'
import { z } from 'zod'
import { startTestApp } from '../../test/app.ts'
import { consistency, freshEmail } from '../../test/client.ts'
import { eventually } from '../../test/eventually.ts'
import { openShop } from '../../test/shop.ts'
import { subscribe } from '../../test/subscription.ts'

setDefaultTimeout(120_000)

const app = await startTestApp()
const shop = await openShop(app.url, app.environment)
const { client } = shop

afterAll(async () => {
  await app.stop()
  await shop.close()
})

/** From when on everything that is paid is this test's. */
const begun = new Date()

const [ada, eve] = [await client.signUp('Ada'), await client.signUp('Eve')]
const { sku } = await shop.newProduct(1_000)
const lines = [{ sku, quantity: 1 }]

/** As whom a field is asked for: everything that is asked for is Ada's. */
const identities = { nobody: undefined, another: eve.token, owner: ada.token, operator: shop.operator }

type Who = keyof typeof identities
/** What becomes of it: the field is there, or the code that it is refused with. */
type Outcomes = Record<Who, string>

const all: Outcomes = { nobody: 'seen', another: 'seen', owner: 'seen', operator: 'seen' }
const own = (missing: string): Outcomes => ({ ...all, nobody: 'unauthenticated', another: missing })
const signedIn: Outcomes = { ...all, nobody: 'unauthenticated' }
const customers: Outcomes = { ...signedIn, operator: 'forbidden' }
const operators: Outcomes = { ...all, nobody: 'unauthenticated', another: 'forbidden', owner: 'forbidden' }

const confirmed = async () => shop.eventuallyOrder((await shop.buy(ada, lines)).id, { status: 'confirmed' })

const order = await confirmed()
const payment = order.paymentId ?? ''
await shop.eventuallyPayment(payment, { status: 'captured' })
const checkout = (await shop.checkOut(ada, lines)).id
await shop.eventuallyCheckout(checkout, { status: 'completed' })
const failed = (await shop.checkOut(ada, lines, 'tok_declined')).id
await shop.eventuallyCheckout(failed, { status: 'compensated' })

const period = { from: begun.toISOString(), to: new Date(Date.now() + 60_000).toISOString() }
const started = await client.send('POST', '/settlements', { token: shop.operator, body: period })
const settlement = z.object({ id: z.uuid() }).parse(started.body).id
await client.send('GET', `/settlements/${settlement}`, { token: shop.operator, headers: consistency(started) })
const settled = await subscribe(
  app.url,
  { query: `subscription { settlementChanged(id: "${settlement}") { status totals { payments } } }` },
  { token: shop.operator },
)
await settled.eventually({ status: 'completed', totals: [expect.anything()] })
settled.close()

const credentials = `email: "${ada.email}", password: "${ada.password}"`
const input = `input: { lines: [{ sku: "${sku}", quantity: 1 }], paymentToken: "tok_visa" }`
const id = (of: string) => `id: "${of}"`

type Stead = { given: string; token: string }

type Type = {
  /** A document that asks Ada's thing of this type for a selection; each time, since what is changed is another thing then. */
  ask?: (selection: string) => string
  /** What becomes of each of its fields. */
  fields: Record<string, Outcomes>
}

/** The same for each of the fields. */
const each = (fields: string, outcomes: Outcomes): Record<string, Outcomes> =>
  Object.fromEntries(fields.split(' ').map((field) => [field, outcomes]))

const ofUser = (inner: (selection: string) => string) => (selection: string) =>
  `{ user(${id(ada.id)}) { ${inner(selection)} } }`
const ofOrder = (inner: (selection: string) => string) => (selection: string) =>
  `{ order(${id(order.id)}) { ${inner(selection)} } }`
const ofSettlement = (inner: (selection: string) => string) => (selection: string) =>
  `{ settlement(${id(settlement)}) { ${inner(selection)} } }`
const itself = (selection: string) => selection

/** Every field of every type, and who sees it. */
const types: Record<string, Type> = {
  Query: {
    fields: {
      ...each('me products', all),
      ...each('orders', signedIn),
      user: own('user-not-found'),
      order: own('order-not-found'),
      checkout: own('checkout-not-found'),
      payment: own('payment-not-found'),
      settlement: operators,
    },
  },
  Mutation: {
    fields: {
      ...each('registerUser createSession', all),
      ...each('renameUser closeUser', own('user-not-found')),
      ...each('placeOrder checkout', customers),
      cancelOrder: own('order-not-found'),
      ...each('refundPayment startSettlement', operators),
    },
  },
  Subscription: {
    fields: {
      orderChanged: own('order-not-found'),
      checkoutChanged: own('checkout-not-found'),
      settlementChanged: operators,
    },
  },
  User: {
    ask: ofUser(itself),
    fields: each('id name email status version createdAt orders openCheckouts', own('user-not-found')),
  },
  OrderConnection: {
    ask: ofUser((selection) => `orders { ${selection} }`),
    fields: each('nodes edges pageInfo', own('user-not-found')),
  },
  OrderEdge: {
    ask: ofUser((selection) => `orders { edges { ${selection} } }`),
    fields: each('cursor node', own('user-not-found')),
  },
  PageInfo: {
    ask: ofUser((selection) => `orders { pageInfo { ${selection} } }`),
    fields: each('hasNextPage hasPreviousPage startCursor endCursor', own('user-not-found')),
  },
  Order: {
    ask: ofOrder(itself),
    fields: each(
      'id userId status reason lines total paymentId version createdAt user payment',
      own('order-not-found'),
    ),
  },
  OrderLine: {
    ask: ofOrder((selection) => `lines { ${selection} }`),
    fields: each('sku name quantity price', own('order-not-found')),
  },
  Money: {
    ask: ofOrder((selection) => `total { ${selection} }`),
    fields: each('amount currency', own('order-not-found')),
  },
  Payment: {
    ask: (selection) => `{ payment(${id(payment)}) { ${selection} } }`,
    fields: each('id orderId userId status amount version createdAt order', own('payment-not-found')),
  },
  Checkout: {
    ask: (selection) => `{ checkout(${id(checkout)}) { ${selection} } }`,
    fields: each('id userId status orderId paymentId error steps order', own('checkout-not-found')),
  },
  CheckoutStep: {
    ask: (selection) => `{ checkout(${id(checkout)}) { steps { ${selection} } } }`,
    fields: each('name status at error', own('checkout-not-found')),
  },
  CheckoutError: {
    ask: (selection) => `{ checkout(${id(failed)}) { error { ${selection} } } }`,
    fields: each('code message', own('checkout-not-found')),
  },
  Settlement: { ask: ofSettlement(itself), fields: each('id status from to tasks totals', operators) },
  SettlementTasks: {
    ask: ofSettlement((selection) => `tasks { ${selection} }`),
    fields: each('total done failed', operators),
  },
  SettlementTotal: {
    ask: ofSettlement((selection) => `totals { ${selection} }`),
    fields: each('currency captured refunded net payments', operators),
  },
  Product: { ask: (selection) => `{ products { ${selection} } }`, fields: each('sku name price stock', all) },
  Session: {
    ask: (selection) => `mutation { createSession(input: { ${credentials} }) { ${selection} } }`,
    fields: each('token expiresAt userId', all),
  },
}

/** The arguments that a field of the roots is asked with; where Ada would not outlive it, with somebody in her place. */
const argumentsOf: Record<string, () => Promise<string | Stead> | string> = {
  'Query.user': () => id(ada.id),
  'Query.order': () => id(order.id),
  'Query.checkout': () => id(checkout),
  'Query.payment': () => id(payment),
  'Query.settlement': () => id(settlement),
  'Mutation.registerUser': () =>
    `input: { name: "Somebody", email: "${freshEmail()}", password: "correct horse battery" }`,
  'Mutation.createSession': () => `input: { ${credentials} }`,
  'Mutation.renameUser': () => `${id(ada.id)}, name: "Ada"`,
  'Mutation.closeUser': async () => {
    const stead = await client.signUp('In her place')
    return { given: id(stead.id), token: stead.token }
  },
  'Mutation.placeOrder': () => input,
  'Mutation.checkout': () => input,
  'Mutation.cancelOrder': async () => id((await confirmed()).id),
  'Mutation.refundPayment': async () => id((await confirmed()).paymentId ?? ''),
  'Mutation.startSettlement': () => `from: "${period.from}", to: "${period.to}"`,
  'Subscription.orderChanged': () => id(order.id),
  'Subscription.checkoutChanged': () => id(checkout),
  'Subscription.settlementChanged': () => id(settlement),
}

const introspected = z
  .custom<Parameters<typeof buildClientSchema>[0]>()
  .parse((await client.graphql(getIntrospectionQuery())).data)
const schema = buildClientSchema(introspected)
const objects = Object.values(schema.getTypeMap()).filter((type) => isObjectType(type) && !type.name.startsWith('__'))

const selectionOf = ({ name, type }: GraphQLField<unknown, unknown>, given = ''): string =>
  `${name}${given && `(${given})`}${isLeafType(getNamedType(type)) ? '' : ' { __typename }'}`

/** The document that asks for a field, and as whom its owner asks. */
const askFor = async (type: string, field: GraphQLField<unknown, unknown>) => {
  const ask = types[type]?.ask
  if (ask) return { query: ask(selectionOf(field)), owner: ada.token }
  const asked = (await argumentsOf[`${type}.${field.name}`]?.()) ?? ''
  const { given, token } = typeof asked === 'string' ? { given: asked, token: ada.token } : asked
  return { query: `${type.toLowerCase()} { ${selectionOf(field, given)} }`, owner: token }
}

const answerOf = async (query: string, token: string | undefined) => {
  const sent = token === undefined ? {} : { token }
  if (!query.startsWith('subscription')) return client.graphql(query, {}, sent)
  const stream = await subscribe(app.url, { query }, sent)
  const first = await eventually(() => {
    const [result] = stream.results
    if (!result) throw new Error('Nothing has come yet.')
    return result
  })
  stream.close()
  return first
}

/** What somebody comes to, who must be told no more than that when it is refused. */
const outcomeOf = async (type: string, field: GraphQLField<unknown, unknown>, who: Who): Promise<string> => {
  const { query, owner } = await askFor(type, field)
  const { data, errors } = await answerOf(query, who === 'owner' ? owner : identities[who])
  if (!errors) return 'seen'
  expect(Object.values(data ?? {}).filter((value) => value !== null)).toEqual([])
  return errors.map(({ extensions }) => extensions.code).join()
}

test('every type and field of the schema has its expectation here, and nothing else has', () => {
  const expected = Object.entries(types).map(([name, { fields }]) => [name, Object.keys(fields).toSorted()])
  const present = objects.map((type) => [type.name, isObjectType(type) ? Object.keys(type.getFields()).toSorted() : []])
  expect(Object.fromEntries(present)).toEqual(Object.fromEntries(expected))
})

for (const type of objects.filter(isObjectType)) {
  for (const field of Object.values(type.getFields())) {
    test(`${type.name}.${field.name} is seen by nobody else than who may see it`, async () => {
      const came: Partial<Outcomes> = {}
      for (const who of Object.keys(identities) as Who[]) came[who] = await outcomeOf(type.name, field, who)
      expect(came).toEqual(types[type.name]?.fields[field.name] ?? {})
    })
  }
}
