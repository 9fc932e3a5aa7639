import type { Database } from 'bun:sqlite'

export type Charge = {
  id: string
  status: 'captured' | 'declined'
  amount: number
  currency: string
  reference: string
  declineCode: string | null
  createdAt: string
}

export type Refund = {
  id: string
  charge: string
  amount: number
  currency: string
  status: 'refunded'
  reference: string
  createdAt: string
}

export type Entry = {
  sequence: number
  kind: 'capture' | 'refund'
  id: string
  charge: string
  amount: number
  currency: string
  reference: string
  at: string
}

/** Amounts in minor units; `payments` counts the captures. */
export type Total = { currency: string; captured: number; refunded: number; payments: number }

const schema = `
  create table if not exists requests (
    kind text not null,
    key text not null,
    body text not null,
    calls integer not null,
    made text,
    primary key (kind, key)
  ) strict, without rowid;
  create table if not exists charges (
    id text primary key,
    status text not null,
    amount integer not null check (amount > 0),
    currency text not null,
    reference text not null,
    decline_code text,
    refunded integer not null default 0 check (refunded between 0 and amount),
    created_at integer not null
  ) strict, without rowid;
  create table if not exists refunds (
    id text primary key,
    charge text not null references charges,
    amount integer not null check (amount > 0),
    reference text not null,
    created_at integer not null
  ) strict, without rowid;
  create table if not exists entries (
    sequence integer primary key autoincrement,
    kind text not null check (kind in ('capture', 'refund')),
    id text not null,
    charge text not null,
    amount integer not null,
    currency text not null,
    reference text not null,
    at integer not null
  ) strict;
  create index if not exists entries_by_time on entries (at, currency, kind, amount);`

export type ChargeRow = Omit<Charge, 'createdAt' | 'declineCode'> & {
  decline_code: string | null
  refunded: number
  created_at: number
}
export type RefundRow = Omit<Refund, 'createdAt' | 'status'> & { created_at: number }
type EntryRow = Omit<Entry, 'at'> & { at: number }
type RequestRow = { body: string; calls: number; made: string | null }

/** Makes the tables, unless they are there. */
export const layOut = (database: Database) => database.run(schema)

/** The statements of the ledger, prepared. */
export const statementsOf = (database: Database) => ({
  countCall: database.query<RequestRow, [string, string, string]>(
    `insert into requests (kind, key, body, calls) values (?, ?, ?, 1)
     on conflict do update set calls = calls + (body = excluded.body) returning body, calls, made`,
  ),
  keepMade: database.query<null, [string, string, string]>('update requests set made = ? where kind = ? and key = ?'),
  madeBy: database.query<{ made: string | null }, [string, string]>(
    'select made from requests where kind = ? and key = ?',
  ),
  chargeById: database.query<ChargeRow, [string]>('select * from charges where id = ?'),
  refundById: database.query<RefundRow, [string]>(
    `select refunds.id, charge, refunds.amount, currency, refunds.reference, refunds.created_at
     from refunds join charges on charges.id = charge where refunds.id = ?`,
  ),
  insertCharge: database.query<
    ChargeRow,
    [string, string, number, string, string, string | null, number]
  >(`insert into charges (id, status, amount, currency, reference, decline_code, created_at)
     values (?, ?, ?, ?, ?, ?, ?) returning *`),
  insertRefund: database.query<null, [string, string, number, string, number]>(
    'insert into refunds (id, charge, amount, reference, created_at) values (?, ?, ?, ?, ?)',
  ),
  addRefunded: database.query<null, [number, string]>('update charges set refunded = refunded + ? where id = ?'),
  insertEntry: database.query<null, [Entry['kind'], string, string, number, string, string, number]>(
    'insert into entries (kind, id, charge, amount, currency, reference, at) values (?, ?, ?, ?, ?, ?, ?)',
  ),
  page: database.query<EntryRow, [number, number]>(
    'select * from entries where sequence > ? order by sequence limit ?',
  ),
  totals: database.query<Total, [number, number]>(
    `select currency, coalesce(sum(amount) filter (where kind = 'capture'), 0) as captured,
       coalesce(sum(amount) filter (where kind = 'refund'), 0) as refunded,
       count(*) filter (where kind = 'capture') as payments
     from entries where at >= ? and at < ? group by currency order by currency`,
  ),
})
