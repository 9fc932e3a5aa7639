import { type AddressInfo, type Socket, connect, createServer } from 'node:net'

/** What a gate does with what passes through it. `lossy`: what is asked goes on, and no answer comes back. */
type Mode = 'open' | 'stalled' | 'closed' | 'lossy'

type Pair = { client: Socket; server: Socket; held: (() => void)[] }

/** Stands between one process and one service. It stalls, cuts and slows every connection through it. */
export const openGate = async (port: () => number) => {
  const pairs = new Set<Pair>()
  let mode: Mode = 'open'
  let delayMs = 0

  const cut = (pair: Pair) => {
    pairs.delete(pair)
    pair.client.destroy()
    pair.server.destroy()
  }

  /** Does it now, or when the gate is no longer stalled: also the end of a connection, so that what was sent before arrives. */
  const inTurn = (pair: Pair, act: () => void) => {
    if (mode === 'stalled' || pair.held.length > 0) pair.held.push(act)
    else act()
  }

  const answer = (act: () => void) => (delayMs > 0 ? void setTimeout(act, delayMs) : act())

  const listener = createServer((client) => {
    client.on('error', () => undefined)
    if (mode === 'closed') return void client.destroy()
    const pair: Pair = { client, server: connect(port(), '127.0.0.1'), held: [] }
    const { server } = pair
    pairs.add(pair)
    client.setNoDelay(true)
    server.setNoDelay(true)
    client.on('data', (chunk) => inTurn(pair, () => void server.write(chunk)))
    server.on('data', (chunk) => {
      if (mode !== 'lossy') inTurn(pair, () => answer(() => void client.write(chunk)))
    })
    server.on('error', () => undefined)
    client.on('close', () => inTurn(pair, () => cut(pair)))
    server.on('close', () => inTurn(pair, () => answer(() => cut(pair))))
  })
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))

  const cutAll = () => [...pairs].forEach(cut)

  return {
    port: (listener.address() as AddressInfo).port,
    /** Nothing goes through, and nobody is told; it all arrives after `open`. */
    stall: () => {
      mode = 'stalled'
    },
    /** Ends every connection and lets nobody in. */
    close: () => {
      mode = 'closed'
      cutAll()
    },
    loseAnswers: () => {
      mode = 'lossy'
    },
    /** Answers come this much later. */
    slow: (ms: number) => {
      delayMs = ms
    },
    open: () => {
      // A connection on which an answer was lost is of no use any more.
      if (mode === 'lossy') cutAll()
      mode = 'open'
      for (const pair of pairs) for (const act of pair.held.splice(0)) act()
    },
    end: () => {
      cutAll()
      listener.close()
    },
  }
}

export type Gate = Awaited<ReturnType<typeof openGate>>
