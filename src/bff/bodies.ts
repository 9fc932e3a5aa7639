import type { MiddlewareHandler } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { within } from '#platform/deadline'
import { DomainError } from '#platform/errors'

/** Bodies larger than this are refused before they are read. */
const maxBodyBytes = 100_000

/** A body has to be here in half the time that its request may take: Bun's own limit begins again with each byte. */
const share = 0.5

const limitBody = bodyLimit({
  maxSize: maxBodyBytes,
  onError: () => {
    throw new DomainError('too-large', `The body must have at most ${maxBodyBytes} bytes.`)
  },
})

/** A body that is being read, unless it does not arrive in time. @throws DomainError `body-too-slow` */
export const arriving = <T>(reading: Promise<T>, requestTimeoutMs: number): Promise<T> => {
  const ms = requestTimeoutMs * share
  return within(
    reading,
    ms,
    () => new DomainError('body-too-slow', `The body must arrive within ${ms / 1_000} seconds.`),
  )
}

const ends = () => Promise.resolve()

/**
 * Takes the body in, within its limits. One of a stated length is judged by it: merely looking at the stream makes Bun read
 * every body as one. GraphQL reads its own.
 */
export const takeBody = (requestTimeoutMs: number): MiddlewareHandler => {
  return async (c, next) => {
    const { headers } = c.req.raw
    const stated = headers.get('content-length')
    if (headers.has('transfer-encoding') || Number(stated ?? 0) > maxBodyBytes)
      await arriving(limitBody(c, ends), requestTimeoutMs)
    else if (stated !== null && c.req.path !== '/graphql') await arriving(c.req.text(), requestTimeoutMs)
    return next()
  }
}
