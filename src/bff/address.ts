import type { Context } from 'hono'
import { type Addresses, isAddress, plainAddress } from '#platform/addresses'
import { serverOf } from './connection.ts'

/** The address at the other end of the connection; undefined for a request that came by none. */
export const peerOf = (c: Context): string | undefined => {
  const peer = serverOf(c)?.requestIP(c.req.raw)?.address
  return peer === undefined ? undefined : plainAddress(peer)
}

/**
 * Where the request comes from: the peer, or behind proxies of ours what the outermost of them has seen. Whatever a client
 * itself writes into `X-Forwarded-For` stands left of that and is not believed. Undefined for a request that came by no
 * connection.
 */
export const addressOf = (c: Context, proxies: Addresses): string | undefined => {
  const peer = peerOf(c)
  if (peer === undefined || !proxies.has(peer)) return peer
  const hops = (c.req.header('x-forwarded-for') ?? '').split(',').map((hop) => plainAddress(hop.trim()))
  for (const hop of hops.toReversed()) {
    if (!isAddress(hop)) break
    if (!proxies.has(hop)) return hop
  }
  return peer
}

/** Whether the client's own connection is encrypted, as a proxy of ours says: we ourselves speak plain HTTP. */
export const isEncrypted = (c: Context, proxies: Addresses): boolean => {
  if (proxies.empty || c.req.header('x-forwarded-proto') !== 'https') return false
  const peer = peerOf(c)
  return peer !== undefined && proxies.has(peer)
}
