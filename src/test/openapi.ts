import { z } from 'zod'

/** As much of JSON Schema as this API's document uses; a keyword that is not checked here fails the parse. */
type Schema = {
  $ref?: string | undefined
  type?: string | string[] | undefined
  properties?: Record<string, Schema> | undefined
  required?: string[] | undefined
  items?: Schema | undefined
  enum?: unknown[] | undefined
  format?: 'uuid' | 'date-time' | 'email' | undefined
  exclusiveMinimum?: number | undefined
}

const schema: z.ZodType<Schema> = z.lazy(() =>
  z.strictObject({
    $ref: z.string().optional(),
    type: z.union([z.string(), z.array(z.string())]).optional(),
    properties: z.record(z.string(), schema).optional(),
    required: z.array(z.string()).optional(),
    items: schema.optional(),
    enum: z.array(z.unknown()).optional(),
    format: z.enum(['uuid', 'date-time', 'email']).optional(),
    exclusiveMinimum: z.number().optional(),
    minimum: z.unknown().optional(),
    maximum: z.unknown().optional(),
    minLength: z.unknown().optional(),
    maxLength: z.unknown().optional(),
    minItems: z.unknown().optional(),
    maxItems: z.unknown().optional(),
    pattern: z.unknown().optional(),
    example: z.unknown().optional(),
    description: z.unknown().optional(),
  }),
)

const content = z.record(z.string(), z.object({ schema }))
const headers = z.record(z.string(), z.object({ required: z.boolean().optional() }))
const operation = z.object({
  parameters: z.array(z.object({ name: z.string() })).optional(),
  responses: z.record(z.string(), z.object({ content: content.optional(), headers: headers.optional() })),
})
const methods = z.enum(['get', 'post', 'put', 'patch', 'delete'])

export const openapiDocument = z.object({
  openapi: z.string(),
  paths: z.record(z.string(), z.partialRecord(methods, operation)),
  components: z.object({ schemas: z.record(z.string(), z.unknown()) }),
})

export type OpenapiDocument = z.infer<typeof openapiDocument>

export type Answered = { method: string; path: string; status: number; headers: Headers; body: unknown }

const matches = (template: string, path: string): boolean =>
  new RegExp(`^${template.replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(path)

/** What an answer of a documented route has that the document does not say; empty when it fits. */
export const unfit = (document: OpenapiDocument, { method, path, status, headers, body }: Answered): string[] => {
  const [, item] = Object.entries(document.paths).find(([template]) => matches(template, path)) ?? []
  const known = methods.safeParse(method.toLowerCase())
  const documented = known.success ? item?.[known.data] : undefined
  if (!documented) return []
  const response = documented.responses[String(status)]
  if (!response) return [`the status ${status} is not documented`]
  const missing = Object.keys(response.headers ?? {}).filter((name) => !headers.get(name))
  const lacking = missing.map((name) => `the header ${name} is missing`)
  const type = headers.get('content-type')
  if (!response.content) return type === null ? lacking : [...lacking, 'a body is not documented']
  const media = response.content[type ?? '']
  if (!media) return [...lacking, `the content type ${type} is not documented`]
  return [...lacking, ...misfits(document, media.schema, body, 'body')]
}

export const schemaOf = (document: OpenapiDocument, name: string): Schema =>
  schema.parse(document.components.schemas[name])

/** What the value has that the schema does not say, or lacks; empty when it fits. */
export const misfits = (document: OpenapiDocument, { $ref, ...own }: Schema, value: unknown, at: string): string[] => {
  if ($ref !== undefined)
    return misfits(document, schemaOf(document, $ref.replace('#/components/schemas/', '')), value, at)
  const found: string[] = []
  if (own.type !== undefined && ![own.type].flat().some((type) => isOfType(type, value)))
    return [`${at} is not ${String(own.type)}`]
  if (own.enum && !own.enum.includes(value)) found.push(`${at} is not one of ${own.enum.join(', ')}`)
  if (typeof value === 'string' && own.format && !formats[own.format].safeParse(value).success)
    found.push(`${at} is not a ${own.format}`)
  if (typeof value === 'number' && own.exclusiveMinimum !== undefined && value <= own.exclusiveMinimum)
    found.push(`${at} is not above ${own.exclusiveMinimum}`)
  if (Array.isArray(value))
    return [...found, ...value.flatMap((item, index) => misfits(document, own.items ?? {}, item, `${at}[${index}]`))]
  if (typeof value !== 'object' || value === null) return found
  const fields = value as Record<string, unknown>
  for (const name of own.required ?? []) if (!(name in fields)) found.push(`${at}.${name} is missing`)
  for (const [name, field] of Object.entries(fields)) {
    const property = own.properties?.[name]
    if (property) found.push(...misfits(document, property, field, `${at}.${name}`))
    else found.push(`${at}.${name} is not documented`)
  }
  return found
}

const formats = { uuid: z.uuid(), 'date-time': z.iso.datetime(), email: z.email() }

const isOfType = (type: string, value: unknown): boolean => {
  if (type === 'null') return value === null
  if (type === 'array') return Array.isArray(value)
  if (type === 'object') return typeof value === 'object' && value !== null && !Array.isArray(value)
  return type === 'integer' ? Number.isInteger(value) : typeof value === type
}
