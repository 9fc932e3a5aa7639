import { expect, test } from 'bun:test'
import { checkMigrations } from './migrations.ts'

const schemas = ['platform', 'users', 'orders', 'payments']

const linesOf = (text: string, schema = 'users') =>
  checkMigrations([{ path: `db/migrations/${schema}/0002_change.sql`, text }], schemas).map(({ line }) => line)

test.each([
  'select id from orders.orders',
  'select id from ORDERS.orders',
  'select id from "orders"."orders"',
  'select id from orders . orders',
  'select id from orders\n  .orders',
  'create view v as select o.id from orders.orders o',
  'alter table users add constraint c foreign key (id) references payments.payments (id)',
  'create function f() returns bigint language sql as $$ select count(*) from orders.orders $$',
  'do $body$ begin perform orders.place(); end $body$',
  "select 'a' || (select id from orders.orders) || 'b'",
  'grant usage on schema orders to users',
  'create table x (id int); set search_path to users, orders',
  "set search_path = 'users', orders",
  'select id /* a comment */ from /* another */ orders.orders -- and one more',
])('a migration of users that mentions another schema is refused: %s', (text) => {
  expect(linesOf(text)).toHaveLength(1)
})

test.each([
  'select id from users.users',
  'select orders from users',
  'select u.orders.id from users u',
  'select "users"."orders"."id" from users',
  '-- kept in step with orders.orders\nselect 1',
  '/* orders.orders\n payments.payments */ select 1',
  "select 'orders.orders', 'it''s payments.payments'",
  'create table user_orders (id int); select user_orders.id from user_orders',
  'set search_path to users',
  'alter schema users owner to users_owner',
])('a migration of users that stays in its schema passes: %s', (text) => {
  expect(linesOf(text)).toEqual([])
})

test('the migrations of platform, which run in every schema, name none', () => {
  expect(linesOf('insert into users.outbox default values', 'platform')).toEqual([1])
  expect(linesOf('insert into outbox default values', 'platform')).toEqual([])
})

test('a finding names the line, the rule and the schema', () => {
  const text = '-- orders.orders\n/*\n*/\nselect 1;\nselect id from orders.orders'
  const [finding] = checkMigrations([{ path: 'db/migrations/users/0002_change.sql', text }], schemas)
  expect(finding).toMatchObject({ line: 5, rule: 'own-schema', what: 'mentions the schema orders' })
})
