import { resolve } from 'node:path'
import { expect, test } from 'bun:test'
import { audit } from './audit.ts'

const root = resolve(import.meta.dir, '..')

/** Audits this project at a registry that knows these holes, or answers nothing but a status. */
const auditAt = async (answer: object | number) => {
  const registry = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    fetch: () => (typeof answer === 'number' ? new Response('', { status: answer }) : Response.json(answer)),
  })
  try {
    return await audit(root, { ...process.env, npm_config_registry: registry.url.href })
  } finally {
    await registry.stop(true)
  }
}

const hole = (severity: string) => ({
  hono: [{ id: 1, url: 'https://advisories.example/1', title: 'A hole', severity, vulnerable_versions: '<999' }],
})

test('a package with a grave hole fails the audit and is named', async () => {
  for (const severity of ['high', 'critical'])
    expect(await auditAt(hole(severity))).toEqual({
      ok: false,
      lines: [`hono: ${severity}: A hole (https://advisories.example/1)`],
    })
})

test('a small hole is told', async () => {
  expect(await auditAt(hole('moderate'))).toMatchObject({
    ok: true,
    lines: [expect.stringContaining('hono: moderate')],
  })
})

test('no hole is no complaint', async () => {
  expect(await auditAt({})).toEqual({ ok: true, lines: ['no package has a known hole'] })
})

test('a registry that does not answer fails nothing, and is told', async () => {
  for (const status of [405, 500])
    expect(await auditAt(status)).toMatchObject({ ok: true, lines: [expect.stringContaining('not audited')] })
})
