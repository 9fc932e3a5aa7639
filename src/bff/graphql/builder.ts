import SchemaBuilder from '@pothos/core'
import { GraphQLError } from 'graphql'
import { dateTime } from '../inputs.ts'
import type { BffOptions } from '../bff.ts'
import type { Call } from '../call.ts'

/** What a resolver works with. */
export type GraphqlContext = { call: Call; options: BffOptions; headers: Headers }

export const builder = new SchemaBuilder<{
  Context: GraphqlContext
  DefaultFieldNullability: false
  Scalars: {
    MinorUnits: { Input: number; Output: number }
    DateTime: { Input: Date; Output: string }
    ID: { Input: string; Output: string }
  }
}>({ defaultFieldNullability: false })

builder.scalarType('DateTime', {
  description: 'An instant, RFC 3339 in UTC',
  serialize: (value) => value,
  parseValue: (value) => {
    const { success, data } = dateTime.safeParse(value)
    if (success) return new Date(data)
    throw new GraphQLError('A DateTime is a text like 2026-01-31T12:00:00Z.', { extensions: { code: 'invalid-input' } })
  },
})

builder.queryType()
builder.mutationType()
builder.subscriptionType()
