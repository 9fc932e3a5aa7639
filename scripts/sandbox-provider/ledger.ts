import { Database } from 'bun:sqlite'
import { createGroupCommit } from './group-commit.ts'
import { Refusal } from './refusal.ts'
import type { ChargeBody, RefundBody, Token } from './requests.ts'
import {
  type Charge,
  type ChargeRow,
  type Entry,
  type Refund,
  type RefundRow,
  type Total,
  layOut,
  statementsOf,
} from './tables.ts'

/** What a call with an idempotency key came to; `replayed` when an earlier call with the key had brought it about. */
export type Made<Thing> = { thing: Thing; replayed: boolean } | { refusal: Refusal }

const iso = (at: number) => new Date(at).toISOString()

const toCharge = ({ id, status, amount, currency, reference, ...row }: ChargeRow): Charge => ({
  id,
  status,
  amount,
  currency,
  reference,
  declineCode: row.decline_code,
  createdAt: iso(row.created_at),
})

const toRefund = ({ created_at, ...row }: RefundRow): Refund => ({
  ...row,
  status: 'refunded',
  createdAt: iso(created_at),
})

const existing = <Row>(row: Row | null, id: string): Row => {
  if (row === null) throw new Error(`the ledger lost ${id}`)
  return row
}

const failuresOfFlaky = 2

/**
 * The provider's books in one SQLite file: charges, refunds, and the entries of the ledger, written together. What a promise of
 * this ledger resolved to survives a kill and a power cut. Several processes may share the file.
 */
export const openLedger = (file: string) => {
  const database = new Database(file, { create: true, strict: true })
  for (const pragma of ['busy_timeout = 5000', 'journal_mode = wal', 'synchronous = full', 'foreign_keys = on'])
    database.run(`pragma ${pragma}`)
  layOut(database)
  const statements = statementsOf(database)
  const commit = createGroupCommit(database)

  /** Runs `make` for the first call with a key that it does not refuse; every later one finds what that made. */
  const onceByKey = <Thing>(
    kind: 'charge' | 'refund',
    key: string,
    body: unknown,
    find: (id: string) => Thing,
    make: (calls: number) => { id: string; thing: Thing } | Refusal,
  ): Promise<Made<Thing>> =>
    commit(() => {
      const text = JSON.stringify(body)
      const request = existing(statements.countCall.get(kind, key, text), key)
      if (request.body !== text) {
        const message = 'This Idempotency-Key came with another body before.'
        return { refusal: new Refusal(422, 'idempotency-key-reused', message) }
      }
      if (request.made !== null) return { thing: find(request.made), replayed: true }
      const made = make(request.calls)
      if (made instanceof Refusal) return { refusal: made }
      statements.keepMade.run(made.id, kind, key)
      return { thing: made.thing, replayed: false }
    })

  const findCharge = (id: string) => toCharge(existing(statements.chargeById.get(id), id))
  const findRefund = (id: string) => toRefund(existing(statements.refundById.get(id), id))

  return {
    charge: (key: string, token: Token, { amount, currency, reference }: ChargeBody): Promise<Made<Charge>> =>
      onceByKey('charge', key, [token, amount, currency, reference], findCharge, (calls) => {
        if (token === 'tok_flaky' && calls <= failuresOfFlaky)
          return new Refusal(503, 'temporarily-unavailable', 'Try again with the same Idempotency-Key.')
        const id = `ch_${Bun.randomUUIDv7()}`
        const now = Date.now()
        const declined = token === 'tok_declined'
        const [status, code] = declined ? (['declined', 'card-declined'] as const) : (['captured', null] as const)
        const row = existing(statements.insertCharge.get(id, status, amount, currency, reference, code, now), id)
        if (!declined) statements.insertEntry.run('capture', id, id, amount, currency, reference, now)
        return { id, thing: toCharge(row) }
      }),

    refund: (key: string, { charge, amount, reference }: RefundBody): Promise<Made<Refund>> =>
      onceByKey('refund', key, [charge, amount, reference], findRefund, () => {
        const of = statements.chargeById.get(charge)
        if (!of) return new Refusal(404, 'charge-not-found', 'There is no such charge.')
        if (of.status !== 'captured') return new Refusal(422, 'not-captured', 'This charge was declined.')
        if (of.refunded + amount > of.amount)
          return new Refusal(422, 'exceeds-charge', 'The refunds of a charge cannot exceed what it captured.')
        const id = `re_${Bun.randomUUIDv7()}`
        const now = Date.now()
        statements.insertRefund.run(id, charge, amount, reference, now)
        statements.addRefunded.run(amount, charge)
        statements.insertEntry.run('refund', id, charge, amount, of.currency, reference, now)
        return { id, thing: findRefund(id) }
      }),

    chargeOf: (key: string): Charge | undefined => {
      const made = statements.madeBy.get('charge', key)?.made
      return made ? findCharge(made) : undefined
    },

    refundOf: (key: string): Refund | undefined => {
      const made = statements.madeBy.get('refund', key)?.made
      return made ? findRefund(made) : undefined
    },

    /** The entries with a higher sequence, in their order; `nextCursor` is null when none follows. */
    page: (after: number, limit: number): { items: Entry[]; nextCursor: string | null } => {
      const rows = statements.page.all(after, limit + 1)
      const items = rows.slice(0, limit).map((row) => ({ ...row, at: iso(row.at) }))
      return { items, nextCursor: rows.length > limit ? String(items.at(-1)?.sequence) : null }
    },

    /** Over `[from, to)`, in milliseconds since 1970. */
    totals: (from: number, to: number): Total[] => statements.totals.all(from, to),

    close: () => database.close(),
  }
}

export type Ledger = ReturnType<typeof openLedger>
