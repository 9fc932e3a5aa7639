import { type Socket, connect, createServer } from 'node:net'
import { once } from 'node:events'

/** A way to a service through here, so that a test can take the service away from one process only. */
export const openDetour = async (serviceUrl: string) => {
  const service = new URL(serviceUrl)
  const sockets = new Set<Socket>()
  const keep = (socket: Socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => socket.destroy())
  }
  const server = createServer((socket) => {
    const onward = connect(Number(service.port), service.hostname)
    for (const end of [socket, onward]) keep(end)
    socket.pipe(onward).pipe(socket)
    socket.on('close', () => onward.destroy())
    onward.on('close', () => socket.destroy())
  })
  const listen = async (port: number) => {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
  }
  const cut = async () => {
    if (!server.listening) return
    const closed = once(server, 'close')
    server.close()
    for (const socket of sockets) socket.destroy()
    await closed
  }
  await listen(0)
  const address = server.address()
  if (typeof address !== 'object' || !address) throw new Error('The detour has no port.')
  const url = new URL(serviceUrl)
  url.host = `127.0.0.1:${address.port}`
  return {
    url: url.href,
    /** Ends every connection and refuses new ones. */
    cut,
    mend: () => listen(address.port),
  }
}
