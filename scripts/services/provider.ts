import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { root, serviceFolder } from './paths.ts'
import { exchange } from './port.ts'
import type { Job, Server, Service } from './service.ts'

const prepare = async ({ profile, ports }: Job): Promise<Server> => {
  const folder = serviceFolder(profile, 'provider')
  mkdirSync(folder, { recursive: true })
  const flags = { port: String(ports['provider'] ?? 0), data: join(folder, 'ledger.sqlite'), host: '127.0.0.1' }
  const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value])
  return {
    command: process.execPath,
    args: [join(root, 'scripts/sandbox-provider/main.ts'), ...args],
    cwd: folder,
  }
}

const health = Buffer.from('GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n')

export const provider: Service = {
  name: 'provider',
  title: 'payment provider',
  variable: 'PAYMENT_PROVIDER_URL',
  ports: ['provider'],
  stopSignal: 'SIGTERM',
  prepare,
  isReady: async (port) => (await exchange(port, health))?.toString('latin1').startsWith('HTTP/1.1 200') ?? false,
  address: (port) => `http://127.0.0.1:${port}`,
  variables: (address) => ({ PAYMENT_PROVIDER_URL: address }),
}
