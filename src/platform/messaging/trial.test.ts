import { expect, test } from 'bun:test'
import { join } from 'node:path'
import { messageThrownBy } from '../../test/thrown.ts'
import { createTrial } from './trial.ts'

const accused = {
  consumer: 'orders.user-events',
  position: 'user-events/3/14',
  record: { topic: 'user-events', key: 'a key', headers: { ce_id: 'an id' }, value: Buffer.from('{"name":"Zoë"}') },
}

const by = (script: string) => createTrial([process.execPath, '-e', script])(accused)

/** A process that tries the message by `attempt`, an expression in which `given` is what it was given. */
const attempting = (attempt: string) =>
  by(`import { beTried } from '${join(import.meta.dir, 'trial.ts')}'
    import { UnavailableError } from '${join(import.meta.dir, '../errors.ts')}'
    await beTried(async (given) => { ${attempt} })`)

test('a process that is given the message as it was, and lives, has lived', async () => {
  const expected = JSON.stringify({ ...accused, record: { ...accused.record, value: accused.record.value.toString() } })
  const seen = 'JSON.stringify({ ...given, record: { ...given.record, value: given.record.value.toString() } })'
  expect(await attempting(`if (${seen} !== ${JSON.stringify(expected)}) process.exit(1)`)).toBe(true)
})

test('one whose handler fails has lived too', async () => {
  expect(await attempting(`throw new Error('on purpose')`)).toBe(true)
})

test('one that is killed, ends by itself, or never comes back from a fault has died', async () => {
  expect(await attempting(`process.kill(process.pid, 'SIGKILL')`)).toBe(false)
  expect(await attempting(`process.exit(3)`)).toBe(false)
  expect(await attempting(`setTimeout(() => { throw new Error('on purpose') }); await Bun.sleep(5_000)`)).toBe(false)
})

test('one that misses a service has tried nothing', async () => {
  const trying = attempting(`throw new UnavailableError('Redis is away.')`)
  expect(await messageThrownBy(trying)).toBe('The message could not be tried in a process of its own.')
})
