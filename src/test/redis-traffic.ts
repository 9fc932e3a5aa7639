import { type AddressInfo, type Socket, connect, createServer } from 'node:net'

/** For this long answers are held back, so that whatever is sent without waiting for them is on its way before they come. */
const holdMs = 15

/** Stands between a client and the Redis at `url`, and tells what goes over the wire. */
export const redisTraffic = async (url: string) => {
  const target = new URL(url)
  const sockets = new Set<Socket>()
  let sent = ''
  let trips = 0

  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname)
    let held: Buffer[] = []
    let answered = true
    client.on('data', (chunk) => {
      if (answered) trips += 1
      answered = false
      sent += chunk.toString('latin1')
      upstream.write(chunk)
    })
    upstream.on('data', (chunk) => {
      held.push(chunk)
      if (held.length > 1) return
      setTimeout(() => {
        answered = true
        client.write(Buffer.concat(held))
        held = []
      }, holdMs)
    })
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(one)
      one.on('error', () => undefined)
      one.on('close', () => other.destroy())
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = new URL(url)
  address.port = String((server.address() as AddressInfo).port)
  return {
    url: address.href,
    /** What was sent during the work: the names of the commands, and how often the client spoke after it had been answered. */
    during: async <T>(work: () => Promise<T>) => {
      sent = ''
      trips = 0
      const result = await work()
      return { result, commands: commandsOf(sent), trips }
    },
    close: () => {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}

/** The names of the commands in what a client sent: lists of texts, each with its length in front. */
const commandsOf = (sent: string): string[] => {
  const commands: string[] = []
  let at = 0
  const readCount = () => {
    const end = sent.indexOf('\r\n', at)
    const count = Number(sent.slice(at + 1, end))
    at = end + 2
    return count
  }
  while (at < sent.length) {
    const parts = Array.from({ length: readCount() }, () => {
      const length = readCount()
      const text = sent.slice(at, at + length)
      at += length + 2
      return text
    })
    commands.push(parts[0]?.toLowerCase() ?? '')
  }
  return commands
}
