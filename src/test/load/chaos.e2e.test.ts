import { expect, setDefaultTimeout, test } from 'bun:test'
import { join } from 'node:path'
import { root } from '../../../scripts/services/paths.ts'

setDefaultTimeout(400_000)

/** The variables of this run's services are not for it: it has its own. */
const chaos = (...args: string[]) => {
  const { DATABASE_URL: _, KAFKA_BROKERS: __, REDIS_URL: ___, PAYMENT_PROVIDER_URL: ____, ...env } = process.env
  return Bun.spawn([process.execPath, join(root, 'scripts/chaos.ts'), ...args], { cwd: root, env, stderr: 'ignore' })
}

test('a minute of load and faults loses no answered command and breaks no invariant', async () => {
  const seed = Math.floor(Math.random() * 2 ** 31)
  const run = chaos('--seconds', '60', '--seed', String(seed))
  const report = await new Response(run.stdout).text()
  expect({ seed, exit: await run.exited, report }).toEqual({
    seed,
    exit: 0,
    report: expect.stringContaining('every answered command is there, and every invariant holds'),
  })
  const [, faults] = /^faults: (\d+)/m.exec(report) ?? []
  expect(Number(faults)).toBeGreaterThan(10)
})
