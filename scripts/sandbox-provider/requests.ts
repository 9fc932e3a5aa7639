import { z } from 'zod'
import { Refusal } from './refusal.ts'

export const tokens = ['tok_visa', 'tok_declined', 'tok_flaky', 'tok_slow', 'tok_lost'] as const

export type Token = (typeof tokens)[number]

const bodyLimitBytes = 16 * 1024

const amount = z.int().positive()
const reference = z.string().min(1).max(200)
const currency = z.string().regex(/^[A-Z]{3}$/, 'must be an ISO 4217 code')

export const chargeBody = z.object({ token: z.string(), amount, currency, reference })
export const refundBody = z.object({ charge: z.string().min(1).max(100), amount, reference })

export type ChargeBody = z.infer<typeof chargeBody>
export type RefundBody = z.infer<typeof refundBody>

const instant = z.iso.datetime({ offset: true }).transform((text) => Date.parse(text))

export const keyQuery = z.object({ key: z.string().min(1).max(255) })
export const ledgerQuery = z.object({
  after: z.coerce.number().int().min(0).default(0),
  limit: z.coerce.number().int().min(1).max(10_000).default(100),
})
export const totalsQuery = z.object({ from: instant.optional(), to: instant.optional() })

export const isToken = (text: string): text is Token => tokens.some((token) => token === text)

const decode = <Schema extends z.ZodType>(schema: Schema, value: unknown): z.infer<Schema> => {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const issues = parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'body'}: ${message}`)
  throw new Refusal(400, 'invalid-request', issues.join('; '))
}

/** @throws Refusal naming every field that is missing or wrong. */
export const decodeBody = async <Schema extends z.ZodType>(
  schema: Schema,
  request: Request,
): Promise<z.infer<Schema>> => {
  const tooLarge = new Refusal(413, 'body-too-large', `A body has at most ${bodyLimitBytes} bytes.`)
  if (Number(request.headers.get('content-length') ?? 0) > bodyLimitBytes) throw tooLarge
  const bytes = await request.bytes()
  if (bytes.length > bodyLimitBytes) throw tooLarge
  return decode(schema, parseJson(new TextDecoder().decode(bytes)))
}

const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    throw new Refusal(400, 'invalid-json', 'The body is not JSON.')
  }
}

/** @throws Refusal naming every parameter that is missing or wrong. */
export const decodeQuery = <Schema extends z.ZodType>(schema: Schema, request: Request): z.infer<Schema> =>
  decode(schema, Object.fromEntries(new URL(request.url).searchParams))

/** @throws Refusal when there is none. */
export const idempotencyKeyOf = (request: Request): string => {
  const key = request.headers.get('idempotency-key')
  if (!key || key.length > 255)
    throw new Refusal(400, 'idempotency-key-required', 'Send an Idempotency-Key of 1 to 255 characters.')
  return key
}
