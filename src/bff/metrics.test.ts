import { expect, test } from 'bun:test'
import { createFaces } from '../test/faces.ts'

const { bff, authorization } = await createFaces()

const ask = (address: string | undefined, headers: Record<string, string> = {}) => {
  const server = { requestIP: () => (address === undefined ? null : { address }), timeout: () => undefined }
  return bff.request('/metrics', { headers }, server)
}

test('metrics are told to whoever asks from the machine itself', async () => {
  for (const address of ['127.0.0.1', '127.8.0.1', '::1', '::ffff:127.0.0.1']) {
    const response = await ask(address)
    expect([response.status, await response.text()]).toEqual([200, '# nothing'])
    expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
  }
})

test('metrics are refused to everybody else, whatever a request says of where it comes from', async () => {
  const forwarded = { 'x-forwarded-for': '127.0.0.1', forwarded: 'for=127.0.0.1', 'x-real-ip': '127.0.0.1' }
  for (const address of ['203.0.113.9', '10.127.0.0', '::ffff:10.0.0.1', 'fe80::1', undefined]) {
    const response = await ask(address, forwarded)
    expect([address, response.status]).toEqual([address, 401])
    expect(response.headers.get('content-type')).toBe('application/problem+json')
  }
  const response = await bff.request('/metrics', { headers: { ...forwarded, authorization } })
  expect(response.status).not.toBe(200)
})
