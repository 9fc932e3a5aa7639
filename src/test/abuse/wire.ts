import { connect } from 'node:net'

/** Sends bytes over a connection as they are, one part after the other with pauses, and gives the head of what comes back. */
export const speak = (url: string, parts: string[], everyMs = 1): Promise<string> =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url)
    const left = [...parts]
    let heard = ''
    const socket = connect(Number(port), hostname)
    const timer = setInterval(() => {
      const part = left.shift()
      if (part !== undefined) socket.write(part)
    }, everyMs)
    socket.on('data', (bytes) => {
      heard += bytes.toString('latin1')
      if (heard.includes('\r\n\r\n')) socket.destroy()
    })
    socket.setTimeout(30_000, () => socket.destroy())
    socket.on('close', () => {
      clearInterval(timer)
      resolve(heard)
    })
    socket.on('error', reject)
  })
