import { type ValidationRule, execute, validate } from 'graphql'
import { type Plugin, createYoga } from 'graphql-yoga'
import type { Log } from '#platform/log'
import type { Elsewhere } from '../forward.ts'
import { observeMutations } from '../metrics.ts'
import { builder, type GraphqlContext } from './builder.ts'
import { limitCost } from './cost.ts'
import { executeWhereHosted } from './execute.ts'
import { limitShape, parseLimited, refuseIntrospection } from './limits.ts'
import { createMaskError } from './mask-error.ts'
import './users.ts'
import './orders.ts'
import './checkouts.ts'
import './payments.ts'
import './subscriptions.ts'

const schema = builder.toSchema()
observeMutations(schema)

const limits: ValidationRule[] = [limitShape, limitCost]

/**
 * What a document may be: its limits first, since the rules of GraphQL are far more work for a document beyond them. Whoever
 * may not be told the schema is not helped to guess it either.
 */
const limited = (introspection: boolean): Plugin => {
  const hidden = { hideSuggestions: !introspection }
  return {
    onParse: ({ setParseFn }) => setParseFn(parseLimited),
    onValidate: ({ addValidationRule, setValidationFn }) => {
      if (!introspection) addValidationRule(refuseIntrospection)
      setValidationFn((against, document, rules) => {
        const beyond = validate(against, document, limits)
        return beyond.length > 0 ? beyond : validate(against, document, rules, hidden)
      })
    },
    onExecute: ({ args }) => void Object.assign(args, hidden),
    onSubscribe: ({ args }) => void Object.assign(args, hidden),
  }
}

export type Graphql = ReturnType<typeof createGraphql>

export type GraphqlOptions = {
  graphiql: boolean
  /** Tells clients the schema. */
  introspection: boolean
  log: Log
  elsewhere: Elsewhere[]
}

/** GraphQL over HTTP. Errors carry the codes of the HTTP routes; anything unexpected is masked and logged. */
export const createGraphql = ({ graphiql, introspection, log, elsewhere }: GraphqlOptions) => {
  const split: Plugin = {
    onExecute: ({ executeFn, setExecuteFn }) => setExecuteFn(executeWhereHosted(elsewhere, executeFn)),
  }
  const maskError = createMaskError(log)
  const yoga = createYoga<GraphqlContext>({
    schema,
    graphiql,
    // The page that Yoga has by itself loads its script from a CDN.
    renderGraphiQL: async (options) => (await import('@graphql-yoga/render-graphiql')).renderGraphiQL(options),
    landingPage: false,
    logging: false,
    batching: false,
    cors: false,
    // The limit is set where the body enters; Yoga's own copies every body through a stream.
    maxRequestBodySize: false,
    maskedErrors: { maskError },
    plugins: [limited(introspection), split],
  })
  return { yoga, schema, maskError, execute: executeWhereHosted(elsewhere, execute), hideSuggestions: !introspection }
}
