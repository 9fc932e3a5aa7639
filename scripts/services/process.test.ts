import { afterAll, expect, test } from 'bun:test'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isAlive, runningProcess, spawnServer, startOf, stopProcess } from './process.ts'
import { eventually } from '../../src/test/eventually.ts'

const folder = mkdtempSync(join(tmpdir(), 'bulkhead-process-'))
const pidFile = join(folder, 'pid')
const log = join(folder, 'log')
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const start = async (script: string) => {
  const pid = spawnServer({ command: 'sh', args: ['-c', script], cwd: '/' }, pidFile, log)
  const deadline = Date.now() + 5000
  for (;;) {
    const running = runningProcess(pidFile)
    if (running) return { pid, running }
    if (Date.now() > deadline) throw new Error('the process did not name itself')
    await Bun.sleep(5)
  }
}

test('a server names itself in its pid file, and its output goes to its log', async () => {
  const { pid, running } = await start('echo hello; exec sleep 60')
  expect(running.pid).toBe(pid)
  await eventually(() => expect(readFileSync(log, 'utf8')).toBe('hello\n'))
  await stopProcess(running, 'SIGTERM', 2000)
  expect(isAlive(running)).toBe(false)
  expect(runningProcess(pidFile)).toBeUndefined()
})

test('a server that does not listen to its signal is killed', async () => {
  const { running } = await start("trap '' TERM; while :; do sleep 0.1; done")
  await stopProcess(running, 'SIGTERM', 200)
  expect(isAlive(running)).toBe(false)
})

test('a later process that got the same id is neither taken for the server nor killed', async () => {
  const stranger = Bun.spawn(['sleep', '60'])
  try {
    const start =
      process.platform === 'linux'
        ? readFileSync('/proc/self/stat', 'utf8').replace(/^\d+/, String(stranger.pid))
        : 'Mon Jan  1 00:00:00 2024'
    writeFileSync(pidFile, `${stranger.pid}\n${start}\n`)
    expect(runningProcess(pidFile)).toBeUndefined()
    await stopProcess({ pid: stranger.pid, start: 'another moment' }, 'SIGKILL', 100)
    expect(startOf(stranger.pid)).toBeDefined()
  } finally {
    stranger.kill()
  }
})

test('the log of the start before is kept', async () => {
  for (const word of ['one', 'two']) {
    const { running } = await start(`echo ${word}; exec sleep 60`)
    await eventually(() => expect(readFileSync(log, 'utf8')).toBe(`${word}\n`))
    await stopProcess(running, 'SIGTERM', 2000)
  }
  expect(existsSync(`${log}.old`)).toBe(true)
  expect(readFileSync(log, 'utf8')).toBe('two\n')
})
