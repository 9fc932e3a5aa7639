import { expect, test } from 'bun:test'
import { choosePorts, freePort, isFree } from './port.ts'

const listen = (hostname: string, port: number) => Bun.listen({ hostname, port, socket: { data() {} } })

test('a port that somebody listens on, on any address, is not free', async () => {
  for (const hostname of ['127.0.0.1', '0.0.0.0']) {
    const port = await freePort()
    expect(await isFree(port)).toBe(true)
    const server = listen(hostname, port)
    expect(await isFree(port)).toBe(false)
    server.stop(true)
  }
})

test('remembered ports are kept where they are free, and replaced where they are taken', async () => {
  const first = await choosePorts(['broker', 'controller'], {})
  expect(first['broker']).not.toBe(first['controller'])
  expect(await choosePorts(['broker', 'controller'], first)).toEqual(first)
  const server = listen('127.0.0.1', first['broker'] ?? 0)
  const second = await choosePorts(['broker', 'controller'], first)
  server.stop(true)
  expect(second['broker']).not.toBe(first['broker'])
  expect(second['controller']).toBe(first['controller'])
})
