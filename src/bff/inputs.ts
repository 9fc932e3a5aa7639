import { z } from '@hono/zod-openapi'
import { InvalidInputError } from './problems.ts'

/** No control characters, since Postgres takes no NUL, and no half of a surrogate pair, since UTF-8 has no form for it. */
const printable = /^[^\p{Cc}\p{Cs}]*$/u

export const userName = z
  .string()
  .trim()
  .min(1, 'must not be empty')
  .max(200, 'must have at most 200 characters')
  .regex(printable, 'must not contain control characters')
  .openapi({ example: 'Ada Lovelace' })

export const email = z.email('must be an email address').max(254).openapi({ example: 'ada@example.com' })

export const newPassword = z
  .string()
  .min(8, 'must have at least 8 characters')
  .max(128, 'must have at most 128 characters')
  .openapi({ example: 'correct horse battery staple' })

export const registerUserInput = z.object({ name: userName, email, password: newPassword }).openapi('RegisterUser')

export const createSessionInput = z
  .object({
    email: z.string().min(1).max(254).regex(printable, 'must not contain control characters'),
    password: z.string().min(1).max(128),
  })
  .openapi('CreateSession')

export const renameUserInput = z.object({ name: userName }).openapi('RenameUser')

/** What zod found wrong, as the `errors` of a 400. */
export const invalidInput = (error: z.core.$ZodError): InvalidInputError =>
  new InvalidInputError(error.issues.map(({ path, message }) => ({ path: path.map(String).join('.'), message })))

/** Parses an input that did not come through an OpenAPI route. @throws InvalidInputError */
export const parseInput = <Schema extends z.ZodType>(schema: Schema, input: unknown): z.infer<Schema> => {
  const parsed = schema.safeParse(input)
  if (!parsed.success) throw invalidInput(parsed.error)
  return parsed.data
}
