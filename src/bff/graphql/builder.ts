import SchemaBuilder from '@pothos/core'
import { GraphQLError } from 'graphql'
import type { BffOptions } from '../bff.ts'
import type { Call } from '../call.ts'

/** What a resolver works with. */
export type GraphqlContext = { call: Call; options: BffOptions }

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
    const time = typeof value === 'string' ? new Date(value) : undefined
    if (!time || Number.isNaN(time.getTime())) throw new GraphQLError('A DateTime is a text like 2026-01-31T12:00:00Z.')
    return time
  },
})

builder.queryType()
builder.mutationType()
