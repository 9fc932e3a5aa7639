import { expect, setDefaultTimeout, test } from 'bun:test'
import { parseMigrateConfig } from '../src/config.ts'
import { testEnvironment } from '../src/test/app.ts'
import { migrate } from './migrate.ts'

setDefaultTimeout(60_000)

test('where the broker has no authorizer, migrate says that there are no rights and does the rest', async () => {
  const config = parseMigrateConfig(await testEnvironment())
  const lines: string[] = []
  await migrate({ ...config, ORDERS_KAFKA_SASL_USERNAME: 'orders' }, (line) => lines.push(line))
  expect(lines).toEqual([
    'rights: none for orders, since the broker has no authorizer: it lets everybody do everything',
  ])
})

test('where no module has a name of its own, migrate says nothing of rights', async () => {
  const lines: string[] = []
  await migrate(parseMigrateConfig(await testEnvironment()), (line) => lines.push(line))
  expect(lines).toEqual([])
})
