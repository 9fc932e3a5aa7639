import type { Context } from 'hono'

/** What Bun's server, which it passes beside each request, knows of the connection. */
type Server = {
  requestIP(request: Request): { address: string } | null
  /** The connection is closed when nothing moves on it for so many seconds. */
  timeout(request: Request, seconds: number): void
}

/** The server that the request came in by; undefined for one that came by none. */
export const serverOf = (c: Context): Server | undefined => {
  const given: unknown = c.env
  const known = typeof given === 'object' && given !== null && 'requestIP' in given && 'timeout' in given
  return known ? (given as Server) : undefined
}
