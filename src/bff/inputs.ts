import { z } from '@hono/zod-openapi'
import { isCommonPassword } from '#platform/common-passwords'
import { InvalidInputError } from './problems.ts'

/** As much of `printable` as a JSON Schema can say. */
const printablePattern = { pattern: '^[^\\u0000-\\u001f\\u007f-\\u009f]*$' }

/** No control characters, since Postgres takes no NUL, and no half of a surrogate pair, since UTF-8 has no form for it. */
const printable = /^[^\p{Cc}\p{Cs}]*$/u

export const userName = z
  .string()
  .trim()
  .min(1, 'must not be empty')
  .max(200, 'must have at most 200 characters')
  .regex(printable, 'must not contain control characters')
  .openapi({ example: 'Ada Lovelace', ...printablePattern })

export const email = z.email('must be an email address').max(254).openapi({ example: 'ada@example.com' })

export const newPassword = z
  .string()
  .min(8, { error: 'must have at least 8 characters', abort: true })
  .max(128, { error: 'must have at most 128 characters', abort: true })
  .refine((password) => !isCommonPassword(password), 'is one of those that are guessed first: choose another')
  .openapi({ example: 'correct horse battery staple' })

const credentials = { email: 'ada@example.com', password: 'correct horse battery staple' }

export const registerUserInput = z
  .object({ name: userName, email, password: newPassword })
  .refine(({ email, password }) => email.toLowerCase() !== password.toLowerCase(), {
    path: ['password'],
    message: 'must not be the email',
  })
  .openapi('RegisterUser', { example: { name: 'Ada Lovelace', ...credentials } })

export const createSessionInput = z
  .object({
    email: z.string().min(1).max(254).regex(printable, 'must not contain control characters').openapi(printablePattern),
    password: z.string().min(1).max(128),
  })
  .openapi('CreateSession', { example: credentials })

export const renameUserInput = z.object({ name: userName }).openapi('RenameUser', { example: { name: 'Ada King' } })

const sku = z
  .string()
  .regex(/^[A-Za-z0-9._-]{1,64}$/, 'must have 1 to 64 letters, digits, dots, dashes or underscores')
  .openapi({ example: 'tea' })

const quantity = z.int('must be a whole number').min(1, 'must be at least 1').max(1_000, 'must be at most 1000')

export const skuParameter = z.object({ sku: sku.openapi({ param: { name: 'sku', in: 'path' } }) })

export const putProductInput = z
  .object({
    name: userName,
    price: z.object({
      amount: z.int().min(1),
      currency: z.string().regex(/^[A-Z]{3}$/, 'must be three capital letters'),
    }),
  })
  .openapi('PutProduct', { example: { name: 'Tea', price: { amount: 499, currency: 'EUR' } } })

export const changeStockInput = z
  .object({ delta: z.int().min(-1_000_000_000).max(1_000_000_000) })
  .openapi('ChangeStock', { example: { delta: 100 } })

export const placeOrderInput = z
  .object({
    lines: z.array(z.object({ sku, quantity })).min(1, 'must name at least one product').max(100),
    paymentToken: z
      .string()
      .regex(/^[\w.-]{1,128}$/, 'must be a payment token')
      .openapi({ example: 'tok_visa' }),
  })
  .openapi('PlaceOrder', { example: { lines: [{ sku: 'tea', quantity: 2 }], paymentToken: 'tok_visa' } })

export const dateTime = z.iso.datetime({ offset: true, abort: true, error: 'must be a time like 2026-01-31T12:00:00Z' })

export const settlementInput = z
  .object({ from: dateTime, to: dateTime })
  .refine(({ from, to }) => Date.parse(from) < Date.parse(to), { path: ['to'], message: 'must be after from' })
  .openapi('StartSettlement', { example: { from: '2026-01-01T00:00:00Z', to: '2026-02-01T00:00:00Z' } })

export const pageSize = z.coerce.number().int().min(1).max(100).default(20)

export const pageInput = z.object({
  limit: pageSize,
  cursor: z.string().max(100).optional(),
})

/** The id that a cursor stands for. @throws InvalidInputError that names the parameter `path` */
export const decodeCursor = (cursor: string | undefined, path = 'cursor'): string | undefined => {
  if (cursor === undefined) return undefined
  const parsed = z.uuid().safeParse(Buffer.from(cursor, 'base64url').toString('utf8'))
  if (!parsed.success) throw new InvalidInputError([{ path, message: 'is not one that an answer gave' }])
  return parsed.data
}

export const encodeCursor = (id: string): string => Buffer.from(id).toString('base64url')

/** What zod found wrong, as the `errors` of a 400. */
export const invalidInput = (error: z.core.$ZodError): InvalidInputError =>
  new InvalidInputError(error.issues.map(({ path, message }) => ({ path: path.map(String).join('.'), message })))

/** Parses an input that did not come through an OpenAPI route. @throws InvalidInputError */
export const parseInput = <Schema extends z.ZodType>(schema: Schema, input: unknown): z.infer<Schema> => {
  const parsed = schema.safeParse(input)
  if (!parsed.success) throw invalidInput(parsed.error)
  return parsed.data
}
