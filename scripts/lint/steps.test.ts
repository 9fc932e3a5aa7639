import { expect, test } from 'bun:test'
import { resolve } from 'node:path'
import { readTree } from './sources.ts'
import { checkSteps } from './steps.ts'

const linesOf = (path: string, text: string) => checkSteps([{ path, text }]).map(({ line }) => line)

/** What changes something outside the process, planted without a name, and where. */
const breaches: [path: string, text: string][] = [
  ['src/platform/postgres.ts', 'const a = () => commit(connection, [])'],
  ['src/platform/messaging/kafka.ts', 'const a = () => producer.sendBatch({ topicMessages: [] })'],
  ['src/platform/messaging/kafka.ts', 'const a = () => producer.send({ topic, messages })'],
  ['src/platform/messaging/kafka.ts', 'const a = () => from.commitOffsets(offsets)'],
  ['src/platform/redis.ts', "const a = () => redis.set('key', 'value')"],
  ['src/platform/redis.ts', "const a = () => redis['del']('key')"],
  ['src/platform/redis.ts', "const a = () => answered(redis.call('SET', 'key', 'value'))"],
  ['src/platform/redis.ts', 'const a = () => pipeline.exec()'],
  ['src/platform/outgoing.ts', 'const a = () => fetch(url)'],
  ['src/platform/calls.ts', "const a = () => durable('call.send', () => fetch(url))"],
  ['modules/payments/provider.ts', 'const a = () => globalThis.fetch(url)'],
  ['src/bff/orders.ts', 'const a = () => fetch(url)'],
  ['src/platform/timers.ts', "const a = (run) => run('delete from timers')"],
  [
    'src/platform/timers.ts',
    'const claim = `with due as (update timers set x = 1)`\nconst a = (run) => run(claim, [])',
  ],
  ['src/platform/module.ts', 'const a = () => postgres.run(`insert into idempotency_keys values ($1)`, [])'],
  ['src/platform/module.ts', "const a = () => postgres.run('refresh materialized view x')"],
  ['src/platform/module.ts', 'const a = (text) => postgres.run(text)'],
]

for (const [path, text] of breaches)
  test(`a durable step without a name is refused: ${path}: ${text}`, () => {
    expect(linesOf(path, text)).toEqual([text.split('\n').length])
  })

const legal: [path: string, text: string][] = [
  ['src/platform/postgres.ts', 'const a = () => durable(step, () => commit(connection, []))'],
  ['src/platform/messaging/kafka.ts', "const a = () => durable('relay.send', () => producer.sendBatch({}))"],
  ['src/platform/redis.ts', "const a = () => write('redis.set', () => redis.set('key', 'value'))"],
  ['src/platform/redis.ts', "const a = () => answered(redis.mget('key'))"],
  ['src/platform/outgoing.ts', "const a = () => durable('call.send', () => fetch(url))"],
  ['src/platform/timers.ts', "const a = (run) => run('select key from timers')"],
  ['src/platform/timers.ts', "const a = (transaction) => transaction.run('delete from timers')"],
  ['src/platform/timers.ts', "const a = (run) => durable('timer.claim', () => run('update timers set x = 1'))"],
  ['src/platform/timers.int.test.ts', "const a = (run) => run('delete from timers')"],
  ['src/test/client.ts', 'const a = () => fetch(url)'],
]

for (const [path, text] of legal) test(`allowed: ${path}: ${text}`, () => expect(linesOf(path, text)).toEqual([]))

test('the check sees the steps of the tree: without their names each of them is refused', () => {
  const { sources } = readTree(resolve(import.meta.dir, '../..'))
  expect(checkSteps(sources)).toEqual([])
  const stripped = sources.map(({ path, text }) => ({
    path,
    text: text.replaceAll(/\b(?:durable|write)\((?=step|')/g, 'unnamed('),
  }))
  const files = new Set(checkSteps(stripped).map(({ file }) => file.replace('src/platform/', '')))
  expect([...files].toSorted()).toEqual([
    'messaging/kafka.ts',
    'messaging/relay-lease.ts',
    'messaging/relay.ts',
    'module.ts',
    'outgoing.ts',
    'postgres.ts',
    'redis.ts',
    'republish.ts',
    'timers.ts',
  ])
})
