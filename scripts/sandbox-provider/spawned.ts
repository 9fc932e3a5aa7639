import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** For tests: providers in processes of their own, on one file that goes with `remove`. */
export const providersOnOneFile = () => {
  const folder = mkdtempSync(join(tmpdir(), 'bulkhead-provider-'))
  const file = join(folder, 'ledger.sqlite')
  const running: Bun.Subprocess[] = []

  const start = async () => {
    const command = [process.execPath, join(import.meta.dir, 'main.ts'), '--port', '0', '--data', file]
    const child = Bun.spawn(command, { stdout: 'pipe', stderr: 'inherit' })
    running.push(child)
    let said = ''
    for await (const chunk of child.stdout) {
      said += new TextDecoder().decode(chunk)
      const url = /(http:\S+)\n/.exec(said)?.[1]
      if (url) return { ...clientOf(url), child }
    }
    throw new Error('the provider ended before it listened')
  }

  const remove = async () => {
    for (const child of running) child.kill('SIGKILL')
    await Promise.all(running.map((child) => child.exited))
    rmSync(folder, { recursive: true, force: true })
  }
  return { start, remove }
}

export type Answer = { status: number; replayed: boolean; body: Record<string, unknown> }

const clientOf = (url: string) => {
  const call = async (path: string, init: RequestInit = {}): Promise<Answer> => {
    const response = await fetch(`${url}${path}`, init)
    const body = (await response.json()) as Record<string, unknown>
    return { status: response.status, replayed: response.headers.get('idempotent-replayed') === 'true', body }
  }
  const post = (path: string, key: string, body: unknown) =>
    call(path, { method: 'POST', headers: { 'idempotency-key': key }, body: JSON.stringify(body) })
  return {
    url,
    call,
    charge: (key: string, token: string, more: Record<string, unknown> = {}) =>
      post('/charges', key, { token, amount: 1999, currency: 'EUR', reference: `payment-${key}`, ...more }),
    refund: (key: string, charge: unknown, amount = 1999) =>
      post('/refunds', key, { charge, amount, reference: `refund-${key}` }),
    chargeOf: (key: string) => call(`/charges?key=${encodeURIComponent(key)}`),
    refundOf: (key: string) => call(`/refunds?key=${encodeURIComponent(key)}`),
    entries: async () => {
      const { body } = await call('/ledger?limit=10000')
      return body['items'] as Record<string, unknown>[]
    },
  }
}

export type Provider = Awaited<ReturnType<ReturnType<typeof providersOnOneFile>['start']>>
