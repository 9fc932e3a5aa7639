import { expect, test } from 'bun:test'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dir, '../..')
const named = /`(src\/[\w./-]+\.test\.ts)`/g

test('each promise in README.md names tests that exist', async () => {
  const text = await Bun.file(join(root, 'README.md')).text()
  const [, table = ''] = /### Where each promise is kept\n([\s\S]*?)\n##/.exec(text) ?? []
  const rows = table.split('\n').filter((line) => /^\| (?!promise|---)/.test(line))
  expect(rows.length).toBeGreaterThan(20)
  for (const row of rows) {
    const files = [...row.matchAll(named)].map(([, file]) => file ?? '')
    expect(files).not.toEqual([])
    expect(files.filter((file) => !existsSync(join(root, file)))).toEqual([])
  }
})
