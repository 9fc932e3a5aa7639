import { createServer, connect } from 'node:net'
import type { Ports } from './service.ts'

const host = '127.0.0.1'

/** Sends bytes to a local port and returns the first bytes of the answer, or nothing in time. */
export const exchange = (port: number, request: Uint8Array, timeoutMs = 1000): Promise<Buffer | undefined> =>
  new Promise((resolve) => {
    const socket = connect({ host, port })
    const finish = (answer?: Buffer) => {
      socket.destroy()
      resolve(answer)
    }
    socket.setTimeout(timeoutMs, () => finish())
    socket.on('error', () => finish())
    socket.on('close', () => finish())
    socket.on('connect', () => socket.write(request))
    socket.on('data', (chunk: Buffer) => finish(chunk))
  })

const accepts = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host, port })
    const finish = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.on('error', () => finish(false))
    socket.on('connect', () => finish(true))
  })

/** Whether a server could listen there now. Some systems let two bind where only one is reached, so ask both ways. */
export const isFree = async (port: number): Promise<boolean> => {
  if (await accepts(port)) return false
  return new Promise((resolve) => {
    const server = createServer()
    server.on('error', () => resolve(false))
    server.listen(port, host, () => server.close(() => resolve(true)))
  })
}

/** A free port below the range from which systems take ports for outgoing connections, so that it stays free. */
export const freePort = async (avoid: readonly number[] = []): Promise<number> => {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000)
    if (!avoid.includes(port) && (await isFree(port))) return port
  }
}

/** A server that was killed keeps its port for a moment longer than its process can be seen. */
const isFreeSoon = async (port: number): Promise<boolean> => {
  const deadline = Date.now() + 500
  while (!(await isFree(port))) {
    if (Date.now() > deadline) return false
    await Bun.sleep(25)
  }
  return true
}

/** The remembered ports where they are free, else new ones. */
export const choosePorts = async (names: readonly string[], remembered: Ports): Promise<Ports> => {
  const chosen: Ports = {}
  for (const name of names) {
    const port = remembered[name]
    const others = [...Object.values(remembered), ...Object.values(chosen)]
    chosen[name] = port !== undefined && (await isFreeSoon(port)) ? port : await freePort(others)
  }
  return chosen
}
