import { afterAll, expect, test } from 'bun:test'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { lockFile, tryLock, withLock } from './lock.ts'

const name = `lock-test-${process.pid}`
afterAll(() => rmSync(lockFile(name), { force: true }))

test('a lock is held by one at a time', async () => {
  const order: string[] = []
  const hold = (word: string) =>
    withLock(name, async () => {
      order.push(`${word} in`)
      await Bun.sleep(30)
      order.push(`${word} out`)
    })
  await Promise.all([hold('a'), hold('b')])
  expect(order.map((step) => step.slice(2))).toEqual(['in', 'out', 'in', 'out'])
})

test('waiting for a lock can be given up', async () => {
  const held = tryLock(name)
  const waiting = withLock(name, async () => 'got it', { signal: AbortSignal.timeout(50) })
  expect(waiting).rejects.toThrow('Interrupted')
  await waiting.catch(() => {})
  held?.release()
})

test('a holder that is killed holds no longer', async () => {
  const script = `import { tryLock } from ${JSON.stringify(join(import.meta.dir, 'lock.ts'))}
    if (tryLock(${JSON.stringify(name)})) console.log('held')
    setInterval(() => {}, 1000)`
  const holder = Bun.spawn([process.execPath, '-e', script], { stdout: 'pipe' })
  await holder.stdout.getReader().read()
  expect(tryLock(name)).toBeUndefined()
  holder.kill('SIGKILL')
  await holder.exited
  const lock = tryLock(name)
  expect(lock).toBeDefined()
  lock?.release()
})

test('a lock is held though nothing refers to it any more', async () => {
  const script = `import { tryLock } from ${JSON.stringify(join(import.meta.dir, 'lock.ts'))}
    const take = async () => tryLock(${JSON.stringify(name)}) !== undefined
    if (await take()) {
      for (let time = 0; time < 10; time += 1) {
        await Bun.sleep(1)
        Bun.gc(true)
      }
      console.log('collected')
    }
    setInterval(() => {}, 1000)`
  const holder = Bun.spawn([process.execPath, '-e', script], { stdout: 'pipe' })
  await holder.stdout.getReader().read()
  expect(tryLock(name)).toBeUndefined()
  holder.kill('SIGKILL')
  await holder.exited
})
