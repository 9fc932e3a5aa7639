import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { join } from 'node:path'
import { startTestApp } from '../src/test/app.ts'
import { openShop } from '../src/test/shop.ts'
import { stuckCheckout } from '../src/test/stuck-checkout.ts'

setDefaultTimeout(120_000)

const app = await startTestApp()
const shop = await openShop(app.url, app.environment)

afterAll(async () => {
  await app.stop()
  await shop.close()
})

const run = async (...asked: string[]) => {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, 'sagas.ts'), ...asked], {
    env: { ...app.environment, USER: 'grace' },
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const [said, complained] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()])
  return { code: await child.exited, said, complained }
}

describe('bun run sagas', () => {
  test('lists what waits, shows it, and keeps who had it tried again', async () => {
    const { id, sku } = await stuckCheckout(shop, 'needs-operator')
    for (const asked of [[], ['list']]) {
      const { code, said } = await run(...asked)
      expect([code, said]).toEqual([0, expect.stringContaining(id)])
      const row = said.split('\n').find((line) => line.includes(id))
      expect(row).toMatch(/order-not-pending.*charge-payment.*was not answered in time/)
    }
    const shown = await run('show', id)
    expect(JSON.parse(shown.said)).toMatchObject({ id, status: 'needs-operator', stuckAt: 'charge-payment' })

    expect(await run('retry', id)).toEqual({ code: 0, said: `${id}: compensating\n`, complained: '' })
    await shop.eventuallyCheckout(id, { status: 'compensated' })
    await shop.eventuallyStock(sku, 5)
    expect((await run('list')).said).not.toContain(id)
    const { history } = JSON.parse((await run('show', id)).said)
    expect(JSON.stringify(history)).toContain('{"type":"retry","by":"grace by bun run sagas"}')
  })

  test('skips and compensates as many as are named', async () => {
    const stuck = [await stuckCheckout(shop, 'needs-operator'), await stuckCheckout(shop, 'needs-operator')]
    const running = await stuckCheckout(shop, 'running')
    const ids = stuck.map(({ id }) => id)
    expect(await run('skip', ...ids)).toMatchObject({ code: 0, said: ids.map((id) => `${id}: compensated\n`).join('') })
    expect(await run('compensate', running.id)).toMatchObject({ code: 0, said: `${running.id}: compensating\n` })
    for (const { id, sku } of [...stuck, running]) {
      await shop.eventuallyCheckout(id, { status: 'compensated' })
      await shop.eventuallyStock(sku, 5)
    }
  })

  test('says what is wrong in one line, and ends with 1', async () => {
    const [{ id }, unknown] = [await stuckCheckout(shop, 'running'), Bun.randomUUIDv7()]
    const wrong: [string[], string][] = [
      [['retry', id], `The checkout ${id} is running: it cannot retry now.`],
      [['skip', unknown], `There is no saga ${unknown}: "bun run sagas list" shows those that wait.`],
      [['show', '1'], '1 is not the id of a saga.'],
      [['retry'], 'usage: bun run sagas list'],
      [['cancel', id], 'usage: bun run sagas list'],
    ]
    for (const [asked, complaint] of wrong) {
      const { code, said, complained } = await run(...asked)
      expect([code, said]).toEqual([1, ''])
      expect(complained).toStartWith(complaint)
      expect(complained).not.toContain(' at ')
    }
    expect((await run('compensate', id)).code).toBe(0)
  })
})
