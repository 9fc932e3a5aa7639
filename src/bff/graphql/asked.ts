/** The operation of a well-formed body that holds nothing unusual. */
export type Operation = { query: string; variables?: Record<string, unknown>; operationName?: string }

export type Parameters = Record<string, unknown>

const isObject = (value: unknown): value is Parameters =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** The parameters in a body; undefined when it has none. */
export const readParameters = (body: string): Parameters | undefined => {
  try {
    const parsed: unknown = JSON.parse(body)
    return isObject(parsed) ? parsed : undefined
  } catch {
    return undefined
  }
}

/** The operation that the parameters are; undefined leaves them to Yoga. */
export const readOperation = (parameters: Parameters): Operation | undefined => {
  const { query, variables, operationName, ...rest } = parameters
  if (typeof query !== 'string' || Object.keys(rest).length > 0) return undefined
  if (variables !== undefined && variables !== null && !isObject(variables)) return undefined
  if (operationName !== undefined && operationName !== null && typeof operationName !== 'string') return undefined
  return {
    query,
    ...(variables ? { variables } : {}),
    ...(typeof operationName === 'string' ? { operationName } : {}),
  }
}

export const isJson = (headers: Headers): boolean => {
  const type = headers.get('content-type') ?? ''
  return type === 'application/json' || type.startsWith('application/json;')
}

export const takesJson = (headers: Headers): boolean => {
  const accept = headers.get('accept') ?? '*/*'
  return accept === '*/*' || accept === 'application/json'
}
