import { type AddressInfo, type Socket, connect, createServer } from 'node:net'

/** Stands between a client and the server at `url`: counts round trips, cuts connections, lets what is said wait for `delayMs`. */
export const tcpProxy = async (url: string, { delayMs = 0 } = {}) => {
  const target = new URL(url)
  const clients = new Set<Socket>()
  const seen = { connections: 0, trips: 0 }
  let cutAfter: string | undefined

  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname)
    let mute = false
    let answered = true
    seen.connections += 1
    clients.add(client)
    client.on('data', (chunk) => {
      if (answered) seen.trips += 1
      answered = false
      if (cutAfter !== undefined && chunk.includes(cutAfter)) {
        cutAfter = undefined
        mute = true
      }
      if (delayMs > 0) setTimeout(() => upstream.write(chunk), delayMs)
      else upstream.write(chunk)
    })
    upstream.on('data', (chunk) => {
      answered = true
      if (mute) client.destroy()
      else client.write(chunk)
    })
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      one.on('error', () => undefined)
      one.on('close', () => {
        clients.delete(client)
        other.destroy()
      })
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = new URL(url)
  address.port = String((server.address() as AddressInfo).port)
  return {
    url: address.href,
    /** Connections accepted so far. */
    connections: () => seen.connections,
    /** How often a client spoke after it had been answered, since the last call. */
    trips: () => {
      const { trips } = seen
      seen.trips = 0
      return trips
    },
    /** Lets the next chunk that holds `text` reach the server, and cuts the connection instead of answering. */
    cutAfter: (text: string) => {
      cutAfter = text
    },
    cut: () => {
      for (const client of clients) client.destroy()
    },
    close: () => {
      for (const client of clients) client.destroy()
      server.close()
    },
  }
}
