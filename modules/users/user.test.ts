import { describe, expect, test } from 'bun:test'
import * as fc from 'fast-check'
import { DomainError } from '#platform/errors'
import { type ActiveUser, type ClosedUser, type User, close, emailKey, register, rename } from './user.ts'

const registration = fc.record({
  id: fc.uuid(),
  name: fc.string({ minLength: 1 }),
  email: fc.emailAddress(),
  passwordHash: fc.string({ minLength: 1 }),
  role: fc.constantFrom('customer', 'operator'),
  at: fc.date({ noInvalidDate: true }),
})

const ada: ActiveUser = {
  id: '0198c0de-0000-7000-8000-000000000001',
  name: 'Ada',
  email: 'Ada@Example.com',
  passwordHash: '$argon2id$...',
  role: 'customer',
  status: 'active',
  version: 7,
  createdAt: new Date('2026-01-31T12:00:00Z'),
}

const gone: ClosedUser = {
  id: ada.id,
  name: null,
  email: null,
  passwordHash: null,
  role: 'customer',
  status: 'closed',
  version: 8,
  createdAt: ada.createdAt,
}

describe('given nobody', () => {
  test('registering makes an active user of version 1 that has what was given', () => {
    const { id, name, email, passwordHash, role, createdAt } = ada
    expect(register({ id, name, email, passwordHash, role, at: createdAt })).toEqual({ ...ada, version: 1 })
  })
})

describe('given an active user', () => {
  test('renaming changes the name and nothing else, and raises the version by one', () => {
    expect(rename(ada, 'Countess')).toEqual({ ...ada, name: 'Countess', version: 8 })
  })

  test('closing keeps the id, the role and the time, and removes everything personal', () => {
    expect(close(ada)).toEqual(gone)
  })

  test('a decision leaves the user that it was made on as it was', () => {
    const before = structuredClone(ada)
    rename(ada, 'Countess')
    close(ada)
    expect(ada).toEqual(before)
  })
})

describe('given a closed user', () => {
  for (const [decision, decide] of Object.entries({ renaming: (user: User) => rename(user, 'Ada'), closing: close })) {
    test(`${decision} is refused with account-closed`, () => {
      expect(() => decide(gone)).toThrow(DomainError)
      expect(() => decide(gone)).toThrow(expect.objectContaining({ code: 'account-closed' }))
    })
  }
})

test('whatever happens to a user, each change raises the version by exactly one', () => {
  fc.assert(
    fc.property(registration, fc.array(fc.string({ minLength: 1 })), (given, names) => {
      const changes: User[] = [register(given)]
      for (const name of names) changes.push(rename(changes.at(-1) ?? gone, name))
      changes.push(close(changes.at(-1) ?? gone))
      expect(changes.map(({ version }) => version)).toEqual(changes.map((_, index) => index + 1))
      expect(changes.every(({ id, createdAt }) => id === given.id && createdAt === given.at)).toBe(true)
    }),
  )
})

test('nothing of a name, an email or a password is left in a closed user', () => {
  fc.assert(
    fc.property(registration, (given) => {
      const secrets = { name: `name ${given.name}`, email: `mail ${given.email}`, passwordHash: `hash ${given.id}` }
      const left = JSON.stringify(close(register({ ...given, ...secrets })))
      for (const secret of Object.values(secrets)) expect(left).not.toContain(JSON.stringify(secret).slice(1, -1))
    }),
  )
})

describe('two emails are one account', () => {
  test('whatever their case', () => {
    fc.assert(
      fc.property(fc.emailAddress(), (email) => {
        expect(emailKey(email.toUpperCase())).toBe(emailKey(email))
        expect(emailKey(email.toLowerCase())).toBe(emailKey(email))
      }),
    )
    expect(emailKey('ÉLODIE@EXAMPLE.COM')).toBe(emailKey('élodie@example.com'))
  })

  test('however a letter is composed', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (email) => {
        expect(emailKey(email.normalize('NFD'))).toBe(emailKey(email.normalize('NFC')))
      }),
    )
    expect(emailKey('e\u0301lodie@example.com')).toBe(emailKey('\u00e9lodie@example.com'))
    expect(emailKey('\uff41da@example.com')).toBe('ada@example.com')
  })

  test('and the key of a key is that key', () => {
    fc.assert(fc.property(fc.emailAddress(), (email) => expect(emailKey(emailKey(email))).toBe(emailKey(email))))
  })

  test('but not when a letter differs', () => {
    fc.assert(fc.property(fc.emailAddress(), (email) => expect(emailKey(`x${email}`)).not.toBe(emailKey(email))))
  })
})
