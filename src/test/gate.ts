import { once } from 'node:events'
import { type AddressInfo, type Socket, connect, createServer } from 'node:net'

/** What goes through a gate: a client's packet to the service, or what the service answers. */
export type Passing = { from: 'client' | 'service'; connection: number; bytes: Buffer }

/**
 * Stands between a client and the service at `url`. The guard sees every packet before it passes; one that it does not let
 * pass is lost, and its connection with it.
 */
export const openGate = async (url: string) => {
  const service = new URL(url)
  const sockets = new Set<Socket>()
  const everything = () => true
  let guard: (passing: Passing) => boolean = everything
  let connections = 0

  const server = createServer({ noDelay: true }, (client) => {
    const upstream = connect({ port: Number(service.port), host: service.hostname, noDelay: true })
    const connection = (connections += 1)
    const carry = (from: Passing['from'], source: Socket, target: Socket) => {
      sockets.add(source)
      source.on('data', (bytes) => {
        if (source.destroyed || target.destroyed) return
        if (guard({ from, connection, bytes })) target.write(bytes)
        else source.destroy()
      })
      source.on('error', () => source.destroy())
      source.on('close', () => {
        sockets.delete(source)
        target.destroy()
      })
    }
    carry('client', client, upstream)
    carry('service', upstream, client)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const through = new URL(url)
  through.host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    url: through.href,
    /** Puts a guard there, in place of the one before. */
    watch: (next: (passing: Passing) => boolean) => {
      guard = next
    },
    /** Lets everything pass again. */
    open: () => {
      guard = everything
    },
    /** Ends every connection; new ones are taken. */
    cut: () => {
      for (const socket of sockets) socket.destroy()
    },
    close: async () => {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

export type Gate = Awaited<ReturnType<typeof openGate>>
