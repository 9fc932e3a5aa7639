import { expect, test } from 'bun:test'
import { join } from 'node:path'
import { thrownBy } from '../../test/thrown.ts'
import { UnavailableError } from '../errors.ts'
import { type Verdict, createTrial } from './trial.ts'

const accused = {
  consumer: 'orders.user-events',
  position: 'user-events/3/14',
  record: { topic: 'user-events', key: 'a key', headers: { ce_id: 'an id' }, value: Buffer.from('{"name":"Zoë"}') },
}

const never = new AbortController().signal

/** A process that prepares itself by one statement, and tries the message by another, in which `given` is what it was given. */
const trying = (attempt: string, { prepare = '', signal = never } = {}): Promise<Verdict> => {
  const script = `import { beTried } from '${join(import.meta.dir, 'trial.ts')}'
    import { UnavailableError } from '${join(import.meta.dir, '../errors.ts')}'
    await beTried(async () => { ${prepare}; return async (given) => { ${attempt} } })`
  return createTrial({ command: [process.execPath, '-e', script] })(accused, signal)
}

test('a process that is given the message as it was, and ends with it, has lived', async () => {
  const text = 'JSON.stringify({ ...given, value: given.record.value.toString() })'
  const expected = JSON.stringify({ ...accused, value: accused.record.value.toString() })
  expect(await trying(`if (${text} !== ${JSON.stringify(expected)}) process.exit(1)`)).toBe('lived')
})

test('one whose handler fails has lived too', async () => {
  expect(await trying(`throw new Error('on purpose')`)).toBe('lived')
})

test('one that is killed, ends by itself, or meets a fault that nobody catches has died', async () => {
  expect(await trying(`process.kill(process.pid, 'SIGKILL')`)).toBe('died')
  expect(await trying(`process.exit(3)`)).toBe('died')
  expect(await trying(`setTimeout(() => { throw new Error('on purpose') }); await Bun.sleep(5_000)`)).toBe('died')
})

test('one that misses a service, ends before it has the message, or is told to stop has tried nothing', async () => {
  expect(await trying(`throw new UnavailableError('Redis is away.')`)).toBe('untried')
  expect(await trying('', { prepare: `throw new Error('on purpose')` })).toBe('untried')
  expect(await trying('', { prepare: `process.kill(process.pid, 'SIGKILL')` })).toBe('untried')
  expect(await trying(`process.kill(process.pid, 'SIGTERM'); await Bun.sleep(5_000)`)).toBe('untried')
})

test('where no process can be started, the message waits', async () => {
  const trial = createTrial({ command: [join(import.meta.dir, 'nothing')] })
  expect(await thrownBy(trial(accused, never))).toBeInstanceOf(UnavailableError)
})

test('one whose parent lets the message go ends, and has tried nothing', async () => {
  const stopping = new AbortController()
  setTimeout(() => stopping.abort(), 200)
  expect(await trying('for (;;);', { signal: stopping.signal })).toBe('untried')
  expect(await trying('', { signal: stopping.signal })).toBe('untried')
})
