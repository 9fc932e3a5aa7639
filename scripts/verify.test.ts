import { afterAll, beforeEach, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { pureTestFiles, runPureTests } from './verify.ts'

const root = mkdtempSync(join(tmpdir(), 'bulkhead-verify-'))
afterAll(() => rmSync(root, { recursive: true }))
beforeEach(() => {
  for (const folder of ['src', 'modules']) rmSync(join(root, folder), { recursive: true, force: true })
})

const write = (path: string, body: string) => {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), `import { expect, test } from 'bun:test'\n${body}\n`)
}

const passing = "test('holds', () => expect(1).toBe(1))"
const failing = "test('breaks', () => expect(1).toBe(2))"

test('the tests that need no service run, and no other', async () => {
  write('src/a.test.ts', passing)
  write('modules/users/b.test.ts', passing)
  write('src/test/c.e2e.test.ts', failing)
  write('src/d.int.test.ts', failing)
  expect(pureTestFiles(root)).toEqual(['modules/users/b.test.ts', 'src/a.test.ts'])
  expect(await runPureTests(root)).toMatchObject({ ok: true, note: '2 tests in 2 files' })
})

test('a failing test fails the step and is shown', async () => {
  write('src/a.test.ts', passing)
  write('src/b.test.ts', failing)
  const { ok, output } = await runPureTests(root)
  expect(ok).toBe(false)
  expect(output).toContain('breaks')
})

test('a run that executed no test fails the step', async () => {
  write('src/d.int.test.ts', passing)
  expect(await runPureTests(root)).toMatchObject({ ok: false })
  write('src/empty.test.ts', '')
  expect(await runPureTests(root)).toMatchObject({ ok: false })
  write('src/empty.test.ts', "test.skip('later', () => expect(1).toBe(1))")
  expect(await runPureTests(root)).toMatchObject({ ok: false })
})

test('a file that the runner passes over fails the step', async () => {
  write('src/a.test.ts', passing)
  write('src/hidden.test.ts', passing)
  writeFileSync(join(root, 'bunfig.toml'), '[test]\npathIgnorePatterns = ["**/hidden*"]\n')
  const { ok, output } = await runPureTests(root)
  rmSync(join(root, 'bunfig.toml'))
  expect(ok).toBe(false)
  expect(output).toContain('in 1 of 2 files')
})
