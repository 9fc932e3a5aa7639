import { UnavailableError } from './errors.ts'

export type Passwords = {
  /** An argon2id hash with its parameters and salt. */
  hash(password: string): Promise<string>
  /** Whether the password has that hash. Without a hash the same time is spent and the answer is false. */
  verify(password: string, hash: string | undefined): Promise<boolean>
}

/** 19 MiB and two passes: the smaller of the two settings that the OWASP password storage guide gives for argon2id. */
const argon2id = { algorithm: 'argon2id', memoryCost: 19_456, timeCost: 2 } as const

/** A hash with the parameters of every other, of a password that nobody has. */
const nobodysHash = Bun.password.hash(crypto.randomUUID(), argon2id)

/**
 * Hashes off the main thread, at most `parallel` at once, since each takes a core and 19 MiB.
 * @throws UnavailableError when more than `queue` others wait already.
 */
export const createPasswords = ({ parallel = 2, queue = 256 } = {}): Passwords => {
  let running = 0
  const waiting: (() => void)[] = []
  const limited = async <T>(work: () => Promise<T>): Promise<T> => {
    if (running >= parallel) {
      if (waiting.length >= queue) throw new UnavailableError('Too many passwords are being checked at once.')
      await new Promise<void>((resolve) => waiting.push(resolve))
    } else {
      running += 1
    }
    try {
      return await work()
    } finally {
      const next = waiting.shift()
      if (next) next()
      else running -= 1
    }
  }
  return {
    hash: (password) => limited(() => Bun.password.hash(password, argon2id)),
    verify: async (password, hash) => {
      const against = hash ?? (await nobodysHash)
      const matches = await limited(() => Bun.password.verify(password, against))
      return matches && hash !== undefined
    },
  }
}
