import {
  type ExecutionArgs,
  type ExecutionResult,
  type FieldNode,
  type GraphQLError,
  type OperationDefinitionNode,
  getOperationAST,
} from 'graphql'
import type { Elsewhere } from '../forward.ts'
import { owners } from '../owners.ts'
import type { GraphqlContext } from './builder.ts'
import { fieldsAskedFor, mutateElsewhere } from './mutate-elsewhere.ts'
import { answeredUnder, rootFields, withRootFields } from './root-fields.ts'

export type Execute = (args: ExecutionArgs) => ExecutionResult | Promise<ExecutionResult>

/** Neighbouring fields of a mutation, by the names that they are answered under, and where they run when not here. */
type Part = { names: string[]; place: Elsewhere | undefined }

/**
 * Executes an operation. Queries are answered here, whoever hosts what they read. The fields of a mutation run where their
 * module is hosted: the operation is cut into parts, each executed here or sent there, and their answers make one. Whoever is
 * sent a part has the whole document, so that an `Idempotency-Key` means the same wherever the request came in.
 */
export const executeWhereHosted = (elsewhere: Elsewhere[], execute: Execute): Execute => {
  const placeOf = ({ name }: FieldNode) => elsewhere.find((place) => owners[place.name].mutations.includes(name.value))

  return (args) => {
    const { document, operationName, contextValue } = args
    const operation = getOperationAST(document, operationName)
    if (operation?.operation !== 'mutation') return execute(args)
    const askedFor = fieldsAskedFor((contextValue as GraphqlContext).headers)
    const fields = rootFields(operation, document).filter((field) => askedFor?.has(answeredUnder(field)) ?? true)
    if (!askedFor && !fields.some(placeOf)) return execute(args)
    return executeParts(args, operation, { parts: partsOf(fields, placeOf), execute })
  }
}

const partsOf = (fields: FieldNode[], placeOf: (field: FieldNode) => Elsewhere | undefined): Part[] => {
  const parts: Part[] = []
  for (const field of fields) {
    const [name, place] = [answeredUnder(field), placeOf(field)]
    const last = parts.at(-1)
    if (last && last.place === place) last.names.push(name)
    else parts.push({ names: [name], place })
  }
  return parts
}

/** One part after the other, as the fields of a mutation are; what comes after one that failed is not begun. */
const executeParts = async (
  args: ExecutionArgs,
  operation: OperationDefinitionNode,
  { parts, execute }: { parts: Part[]; execute: Execute },
): Promise<ExecutionResult> => {
  const data: Record<string, unknown> = {}
  const errors: GraphQLError[] = []
  for (const { names, place } of parts) {
    const made = place
      ? await mutateElsewhere(args, place, names)
      : await execute({ ...args, document: withRootFields(names, operation, args.document) })
    if (made.data === undefined) return made
    errors.push(...(made.errors ?? []))
    if (made.data === null) return { errors, data: null }
    Object.assign(data, made.data)
  }
  return { ...(errors.length > 0 && { errors }), data }
}
