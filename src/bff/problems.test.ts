import { describe, expect, test } from 'bun:test'
import { HTTPException } from 'hono/http-exception'
import { DomainError, TooManyAttemptsError, UnavailableError } from '#platform/errors'
import { InvalidInputError, toFailure, unauthenticated } from './problems.ts'

const secrets = 'select password_hash from users.users at /srv/bulkhead/user.ts:12'

describe('an answer', () => {
  const answers: [string, number, string][] = [
    ['bad-consistency-token', 400, 'Bad consistency token'],
    ['bad-credentials', 401, 'Bad credentials'],
    ['forbidden', 403, 'Forbidden'],
    ['not-found', 404, 'Not found'],
    ['user-not-found', 404, 'User not found'],
    ['email-taken', 409, 'Email taken'],
    ['account-closed', 409, 'Account closed'],
    ['already-resolved', 409, 'Already resolved'],
    ['not-handled', 409, 'Not handled'],
    ['undecodable', 409, 'Undecodable'],
    ['too-large', 413, 'Too large'],
    ['a-code-without-a-status', 422, 'Refused'],
  ]
  for (const [code, status, title] of answers) {
    test(`with the code ${code} is a ${status}, with its sentence as the detail`, () => {
      expect(toFailure(new DomainError(code, 'A sentence.'))).toEqual({
        problem: { type: `urn:bulkhead:problem:${code}`, title, status, detail: 'A sentence.', code } as never,
        fault: false,
      })
    })
  }

  test('for nobody is a 401', () => {
    expect(toFailure(unauthenticated()).problem).toMatchObject({ status: 401, code: 'unauthenticated' })
  })

  test('for input that does not fit says which fields', () => {
    const errors = [{ path: 'name', message: 'must not be empty' }]
    expect(toFailure(new InvalidInputError(errors)).problem).toMatchObject({
      status: 400,
      code: 'invalid-input',
      errors,
    })
  })

  test('after too many attempts says when to come back', () => {
    const { problem, retryAfterSeconds } = toFailure(new TooManyAttemptsError('Too many.', 77))
    expect(problem).toMatchObject({ status: 429, code: 'too-many-attempts' })
    expect(retryAfterSeconds).toBe(77)
  })
})

describe('a refusal of the HTTP layer', () => {
  test('keeps its status and is no fault', () => {
    const { problem, fault } = toFailure(new HTTPException(415, { message: 'Unsupported Media Type' }))
    expect(problem).toMatchObject({ status: 415, title: 'Unsupported Media Type', code: 'http-415' })
    expect(fault).toBe(false)
  })

  test('of a body that is no JSON is invalid input', () => {
    const { problem } = toFailure(new HTTPException(400, { message: 'Malformed JSON in request body' }))
    expect(problem).toMatchObject({ code: 'invalid-input', errors: [{ path: '', message: expect.any(String) }] })
  })
})

describe('a fault', () => {
  const away = Object.assign(new Error(secrets), { code: 'ECONNREFUSED' })
  for (const [name, error] of Object.entries({
    'that a service is away': new UnavailableError(secrets, { retryAfterSeconds: 3 }),
    'of a connection': away,
    'with one of a connection inside': new Error(secrets, { cause: away }),
    'of a deadlock': Object.assign(new Error(secrets), { code: '40P01' }),
  })) {
    test(`${name} is a 503 that says when to come back, and nothing of what is inside`, () => {
      const { problem, retryAfterSeconds, fault } = toFailure(error)
      expect(problem).toMatchObject({ status: 503, code: 'unavailable' })
      expect(retryAfterSeconds).toBe(error instanceof UnavailableError ? 3 : 1)
      expect(fault).toBe(true)
      expect(JSON.stringify(problem)).not.toContain('select')
    })
  }

  for (const [name, error] of Object.entries({
    error: new Error(secrets),
    'type error': new TypeError(secrets),
    text: secrets,
    nothing: undefined,
    'an object that looks like an answer': { code: 'email-taken', message: secrets },
  })) {
    test(`that nobody foresaw (${name}) is a 500 that tells nothing`, () => {
      const { problem, fault } = toFailure(error)
      expect(problem).toMatchObject({ status: 500, title: 'Internal error', code: 'internal' })
      expect(fault).toBe(true)
      expect(JSON.stringify(problem)).not.toMatch(/select|srv|TypeError/)
    })
  }
})
