import { describe, expect, test } from 'bun:test'
import { type OperationDefinitionNode, getOperationAST, parse, print } from 'graphql'
import { answeredUnder, rootFields, withRootFields } from './root-fields.ts'

const text = `
  mutation Both($yes: Boolean!) {
    a: placeOrder { id }
    ...Rest @include(if: $yes)
    ... on Mutation @skip(if: $yes) { d: placeOrder { ...Ids } }
  }
  fragment Rest on Mutation { b: refundPayment { id } ...Deep }
  fragment Deep on Mutation { c: placeOrder { id } }
  fragment Ids on Order { id }
  query Other { products { sku } }`
const document = parse(text)
const operation = getOperationAST(document, 'Both') as OperationDefinitionNode

describe('the fields of an operation', () => {
  test('are found in fragments too, in the order of the document, whatever their directives say', () => {
    const found = rootFields(operation, document).map((field) => [answeredUnder(field), field.name.value])
    expect(found).toEqual([
      ['a', 'placeOrder'],
      ['b', 'refundPayment'],
      ['c', 'placeOrder'],
      ['d', 'placeOrder'],
    ])
  })

  test('are kept by the names that they are answered under, with the directives around them', () => {
    const kept = withRootFields(['c', 'd'], operation, document)
    const [only] = kept.definitions as [OperationDefinitionNode]
    expect(rootFields(only, kept).map(answeredUnder)).toEqual(['c', 'd'])
    const printed = print(only).replaceAll(/\s+/g, ' ')
    expect(printed).toContain('@include(if: $yes) { ... { c: placeOrder { id } } }')
    expect(printed).toContain('@skip(if: $yes) { d: placeOrder { ...Ids } }')
  })

  test('leave the rest of the document and its text as they are', () => {
    const kept = withRootFields(['a'], operation, document)
    expect(kept.definitions.slice(1)).toEqual(document.definitions.slice(1) as never)
    expect(kept.definitions[0]?.loc?.source.body).toBe(text)
    expect(rootFields(operation, document)).toHaveLength(4)
  })
})
