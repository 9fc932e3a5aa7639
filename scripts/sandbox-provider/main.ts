import { mkdirSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { startProvider } from './server.ts'

const { values } = parseArgs({
  options: {
    port: { type: 'string' },
    data: { type: 'string' },
    host: { type: 'string', default: '127.0.0.1' },
  },
})
const port = Number(values.port ?? Number.NaN)
if (!values.data || !Number.isInteger(port) || port < 0 || port > 65_535) {
  console.error('Usage: bun scripts/sandbox-provider/main.ts --port <port> --data <file> [--host <address>]')
  process.exit(2)
}
const file = resolve(values.data)
mkdirSync(dirname(file), { recursive: true })
const provider = startProvider({ hostname: values.host, port, file })
console.log(`sandbox payment provider: ${provider.url}`)

for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => void provider.stop().finally(() => process.exit(0)))
