import { describe, expect, test } from 'bun:test'
import {
  type GraphQLNamedType,
  buildClientSchema,
  buildSchema,
  getIntrospectionQuery,
  isInputObjectType,
  isIntrospectionType,
  isObjectType,
  isSpecifiedScalarType,
} from 'graphql'
import { z } from 'zod'
import { createFaces } from '../../test/faces.ts'

const { bff, post } = await createFaces()
const introspected = await (await post('/graphql', { query: getIntrospectionQuery() })).json()
const schema = buildClientSchema(
  z.object({ data: z.custom<Parameters<typeof buildClientSchema>[0]>() }).parse(introspected).data,
)

/** As the interface has it, with what it only names added. */
const promised = buildSchema(`
  type Query {
    me: User
    user(id: ID!): User
    order(id: ID!): Order
    orders(first: Int, after: String): OrderConnection!
    checkout(id: ID!): Checkout
    payment(id: ID!): Payment
    settlement(id: ID!): Settlement
    products: [Product!]!
  }
  type Mutation {
    registerUser(input: RegisterUserInput!): User!
    createSession(input: CreateSessionInput!): Session!
    renameUser(id: ID!, name: String!): User!
    closeUser(id: ID!): User!
    placeOrder(input: PlaceOrderInput!): Order!
    cancelOrder(id: ID!): Order!
    checkout(input: PlaceOrderInput!): Checkout!
    refundPayment(id: ID!): Payment!
    startSettlement(from: DateTime!, to: DateTime!): Settlement!
  }
  type Subscription {
    orderChanged(id: ID!): Order!
    checkoutChanged(id: ID!): Checkout!
    settlementChanged(id: ID!): Settlement!
  }
  type OrderConnection { nodes: [Order!]! edges: [OrderEdge!]! pageInfo: PageInfo! }
  type OrderEdge { node: Order! cursor: String! }
  type PageInfo { hasNextPage: Boolean! hasPreviousPage: Boolean! startCursor: String endCursor: String }
  type Money { amount: MinorUnits! currency: String! }
  type User { orders(first: Int, after: String): OrderConnection! openCheckouts(first: Int): [Checkout!]! }
  type Order { user: User payment: Payment }
  type Checkout { order: Order }
  type Payment { order: Order }
  type Session { token: String! expiresAt: DateTime! userId: ID! }
  type Settlement { id: ID! }
  type Product { price: Money! }
  input RegisterUserInput { name: String! email: String! password: String! }
  input CreateSessionInput { email: String! password: String! }
  input PlaceOrderInput { lines: [OrderLineInput!]! paymentToken: String! }
  input OrderLineInput { sku: String! quantity: Int! }
  scalar MinorUnits
  scalar DateTime
`)

/** The fields of a type as one would write them, arguments in the order of their names. */
const fieldsOf = (type: GraphQLNamedType | undefined): string[] => {
  if (isInputObjectType(type))
    return Object.values(type.getFields()).map(({ name, type }) => `${name}: ${String(type)}`)
  if (!isObjectType(type)) return []
  return Object.values(type.getFields()).map(({ name, args, type }) => {
    const named = args.map((argument) => `${argument.name}: ${String(argument.type)}`).toSorted()
    return `${name}${named.length > 0 ? `(${named.join(', ')})` : ''}: ${String(type)}`
  })
}

const whole = [
  'Query',
  'Mutation',
  'Subscription',
  'OrderConnection',
  'OrderEdge',
  'PageInfo',
  'Money',
  'Session',
  'PlaceOrderInput',
]

describe('the schema has', () => {
  for (const type of Object.values(promised.getTypeMap())) {
    if (isIntrospectionType(type) || isSpecifiedScalarType(type)) continue
    test(`${type.name} as the interface promises it`, () => {
      const fields = fieldsOf(schema.getType(type.name))
      expect(schema.getType(type.name)?.constructor.name).toBe(type.constructor.name)
      expect(fields).toEqual(expect.arrayContaining(fieldsOf(type)))
      if (whole.includes(type.name)) expect(fields.toSorted()).toEqual(fieldsOf(type).toSorted())
    })
  }
})

describe('a type carries the fields of the HTTP body:', () => {
  const joins: Record<string, string[]> = {
    User: ['openCheckouts', 'orders'],
    Order: ['payment', 'user'],
    Payment: ['order'],
    Checkout: ['order'],
    Settlement: [],
    Product: [],
  }
  const bodies = z.object({
    components: z.object({
      schemas: z.record(z.string(), z.object({ properties: z.record(z.string(), z.unknown()).optional() })),
    }),
  })

  for (const [name, joined] of Object.entries(joins)) {
    test(name, async () => {
      const { components } = bodies.parse(await (await bff.request('/openapi.json')).json())
      const body = Object.keys(components.schemas[name]?.properties ?? {})
      const type = schema.getType(name)
      expect(body.length).toBeGreaterThan(0)
      expect(isObjectType(type) ? Object.keys(type.getFields()).toSorted() : []).toEqual(
        [...body, ...joined].toSorted(),
      )
    })
  }
})
