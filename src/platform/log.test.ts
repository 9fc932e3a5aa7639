import { expect, test } from 'bun:test'
import { describeError } from './log.ts'
import { messageOf } from './errors.ts'

/** A fault as the driver and Drizzle make it. */
const refused = () => {
  const cause = Object.assign(
    new Error('new row for relation "users" violates check constraint "users_closed_check"'),
    {
      code: '23514',
      constraint_name: 'users_closed_check',
      table_name: 'users',
      detail: 'Failing row contains (1, Ada Lovelace, ada@example.com, $argon2id$...).',
      parameters: ['Ada Lovelace', 'ada@example.com'],
    },
  )
  const values = ['Ada Lovelace', 'ada@example.com']
  const failed = new Error(`Failed query: insert into users values ($1, $2)\nparams: ${values.join()}`, { cause })
  return Object.assign(failed, { params: values })
}

test('an error is logged as what it is, with where it came from and what caused it', () => {
  expect(describeError(refused())).toEqual({
    type: 'Error',
    message: 'Failed query: insert into users values ($1, $2)',
    stack: expect.stringContaining('log.test.ts'),
    cause: {
      type: 'Error',
      message: 'new row for relation "users" violates check constraint "users_closed_check"',
      code: '23514',
      constraint: 'users_closed_check',
      table: 'users',
      stack: expect.stringContaining('log.test.ts'),
    },
  })
})

test('and without the values of the statement that failed', () => {
  expect(JSON.stringify(describeError(refused()))).not.toMatch(/Ada|@|argon2id/)
  expect(messageOf(refused())).not.toMatch(/Ada|@/)
})

test('what is thrown and no error is logged as it is', () => {
  expect(describeError('broken')).toBe('broken')
})

test('a circle of causes ends', () => {
  const error = new Error('one')
  error.cause = error
  expect(JSON.stringify(describeError(error)).match(/"one"/g)).toHaveLength(6)
})
