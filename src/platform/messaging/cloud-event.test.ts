import { type CloudEvent, Kafka } from 'cloudevents'
import { expect, test } from 'bun:test'
import { counted, pay, recordOf } from '../../test/messaging.ts'
import { type RawRecord, UndecodableError, decodeRecord, headerTexts, toHeaders } from './cloud-event.ts'

const raw = (changes: Partial<RawRecord> = {}, headers: Record<string, string | undefined> = {}): RawRecord => {
  const record = recordOf(counted('order-1', 7, { count: 3 }), '0198f2f0-0000-7000-8000-000000000001')
  const given = Object.entries({ ...record.headers, ...headers }).filter(([, value]) => value !== undefined)
  return {
    topic: record.topic,
    key: 'order-1',
    value: Buffer.from(record.value),
    ...changes,
    headers: Object.fromEntries(given) as Record<string, string>,
  }
}

test('what the relay sends is a CloudEvent 1.0 in Kafka binary mode to whoever else reads it', () => {
  const { headers, value } = recordOf(counted('order-1', 7, { count: 3 }), '0198f2f0-0000-7000-8000-000000000001')
  const event = Kafka.toEvent({
    headers,
    value,
    body: value,
    key: 'order-1',
    timestamp: '',
  } as never) as CloudEvent<unknown>
  expect(event).toMatchObject({
    specversion: '1.0',
    id: '0198f2f0-0000-7000-8000-000000000001',
    type: 'orders.counted.v1',
    source: '/modules/orders',
    subject: 'order-1',
    datacontenttype: 'application/json',
    sequence: '7',
    data: { count: 3 },
  })
  expect(event.validate()).toBe(true)
})

test('the headers are those that other programs rely on, by name', () => {
  const names = Object.keys(recordOf(counted('order-1', 7, { count: 3 })).headers).toSorted()
  expect(names).toEqual([
    'ce_causationid',
    'ce_correlationid',
    'ce_id',
    'ce_sequence',
    'ce_source',
    'ce_specversion',
    'ce_subject',
    'ce_time',
    'ce_type',
    'content-type',
  ])
  expect(recordOf(pay('p', 'order-1', { amount: 1 })).headers['ce_sequence']).toBeUndefined()
  const envelope = {
    id: 'i',
    topic: 't',
    key: 'k',
    type: 'y',
    source: 'orders',
    subject: 's',
    sequence: 1,
    time: 'now',
    value: '',
  }
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  const headers = toHeaders({ ...envelope, trace: { correlationId: 'c', causationId: 'b', traceparent } })
  expect(headers['traceparent']).toBe(traceparent)
})

test('a record is read back as the message it was, caused by itself from now on', () => {
  expect(decodeRecord(raw())).toMatchObject({
    id: '0198f2f0-0000-7000-8000-000000000001',
    type: 'orders.counted.v1',
    source: '/modules/orders',
    subject: 'order-1',
    key: 'order-1',
    sequence: 7,
    data: { count: 3 },
    trace: { causationId: '0198f2f0-0000-7000-8000-000000000001' },
  })
})

test('headers and fields that nobody knows are passed over', () => {
  const value = Buffer.from('{"count":3,"later":true}')
  expect(decodeRecord(raw({ value }, { ce_later: 'x', other: 'y' })).data).toEqual({ count: 3, later: true })
})

const undecodable: Record<string, RawRecord> = {
  'without an id': raw({}, { ce_id: undefined }),
  'with an id that is no UUID': raw({}, { ce_id: "1'); drop table inbox" }),
  'without a type': raw({}, { ce_type: undefined }),
  'without a source': raw({}, { ce_source: undefined }),
  'without a subject': raw({}, { ce_subject: undefined }),
  'of another version': raw({}, { ce_specversion: '0.3' }),
  'with a sequence that is no number': raw({}, { ce_sequence: '1e3' }),
  'with the sequence 0': raw({}, { ce_sequence: '0' }),
  'with a time that is none': raw({}, { ce_time: 'soon' }),
  'without a value': raw({ value: Buffer.alloc(0) }),
  'whose value is not JSON': raw({ value: Buffer.from('{') }),
  'whose value is not UTF-8': raw({ value: Buffer.from([0x22, 0xff, 0x22]) }),
}

for (const [what, record] of Object.entries(undecodable)) {
  test(`a record ${what} is undecodable`, () => {
    expect(() => decodeRecord(record)).toThrow(UndecodableError)
  })
}

test('a header that is given twice, as bytes or not at all is one text', () => {
  expect(headerTexts({ a: ['1', '2'], b: Buffer.from('é'), c: undefined })).toEqual({ a: '1', b: 'é' })
  expect(headerTexts(undefined)).toEqual({})
})
