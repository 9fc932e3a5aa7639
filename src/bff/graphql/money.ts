import { GraphQLError } from 'graphql'
import type { Money as MoneyValue } from '#platform/money'
import { builder } from './builder.ts'

builder.scalarType('MinorUnits', {
  description: 'An amount in minor units: an integer up to 2^53',
  serialize: (value) => value,
  parseValue: (value) => {
    if (typeof value !== 'number' || !Number.isSafeInteger(value)) throw new GraphQLError('MinorUnits are an integer.')
    return value
  },
})

export const Money = builder.objectRef<MoneyValue>('Money').implement({
  fields: (t) => ({
    amount: t.expose('amount', { type: 'MinorUnits' }),
    currency: t.exposeString('currency'),
  }),
})
