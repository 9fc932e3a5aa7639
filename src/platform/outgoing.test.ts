import { afterEach, expect, setSystemTime, test } from 'bun:test'
import { eventually } from '../test/eventually.ts'
import { createLog } from './log.ts'
import { type OutgoingOptions, createOutgoing } from './outgoing.ts'

const log = createLog({ level: 'silent', readable: false })
const stops: (() => Promise<void>)[] = []
afterEach(async () => {
  setSystemTime()
  for (const stop of stops.splice(0)) await stop()
})

type Seen = { method: string; path: string; key: string | null; body: string }

const never = () => new Promise<Response>(() => {})
/** Closes the connection without a byte. */
const reset = () => new Response(new ReadableStream({ start: (controller) => controller.error() }))
/** Begins an answer and never ends it. */
const stuck = () => new Response(new ReadableStream({ start: (controller) => controller.enqueue('{"id":') }))
const ok = (body: unknown = { fine: true }) => Response.json(body)

/** A server that answers its first calls as told, one after the other, and later ones as the last. */
const serve = (...answers: (() => Response | Promise<Response>)[]) => {
  const seen: Seen[] = []
  const traceparents: (string | null)[] = []
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch: async (request) => {
      const { pathname, search } = new URL(request.url)
      const key = request.headers.get('idempotency-key')
      seen.push({ method: request.method, path: `${pathname}${search}`, key, body: await request.text() })
      traceparents.push(request.headers.get('traceparent'))
      const answer = answers[Math.min(seen.length, answers.length) - 1]
      return answer ? answer() : new Response(null, { status: 500 })
    },
  })
  stops.push(() => server.stop(true))
  return { seen, traceparents, url: server.url.origin, server }
}

const retries = { max: 4, firstMs: 1, maxMs: 2 }

const outgoing = (baseUrl: string, options: Partial<OutgoingOptions> = {}) =>
  createOutgoing({ baseUrl, name: 'the other side', log, timeoutMs: 5_000, retries, ...options })

const post = { method: 'POST', path: '/things', body: { a: 1 }, idempotencyKey: 'key-1' } as const

test('a call is sent as JSON with its key, and answered with what came back', async () => {
  const { seen, url } = serve(() => Response.json({ id: 7 }, { status: 201 }))
  expect(await outgoing(`${url}/v1/`).call(post)).toEqual({ kind: 'answered', status: 201, body: { id: 7 } })
  expect(seen).toEqual([{ method: 'POST', path: '/v1/things', key: 'key-1', body: '{"a":1}' }])
})

test('each try of a call carries the traceparent of its story, and nothing of it when it has none', async () => {
  const { traceparents, url } = serve(faults['a 503'], () => ok())
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  const story = { correlationId: '019dc0de-0000-7000-8000-00000000000a', causationId: 'b' }
  await outgoing(url).call({ ...post, trace: { ...story, traceparent } })
  await outgoing(url).call({ ...post, trace: story })
  await outgoing(url).call(post)
  expect(traceparents).toEqual([
    traceparent,
    traceparent,
    expect.stringMatching(/^00-019dc0de00007000800000000000000a-[0-9a-f]{16}-00$/),
    null,
  ])
})

test('an empty answer is an answer', async () => {
  const { url } = serve(() => new Response(null, { status: 204 }))
  expect(await outgoing(url).call(post)).toEqual({ kind: 'answered', status: 204, body: undefined })
})

test('a refusal is an answer and is not tried again, and a redirect is not followed', async () => {
  for (const status of [302, 400, 404, 409, 422]) {
    const { seen, url } = serve(() => Response.json({ code: 'no' }, { status, headers: { location: '/elsewhere' } }))
    expect(await outgoing(url).call(post)).toEqual({ kind: 'answered', status, body: { code: 'no' } })
    expect(seen).toHaveLength(1)
  }
})

test('an answer without end is let go of, and its outcome is unknown', async () => {
  let sent = 0
  const part = new Uint8Array(100_000).fill(32)
  const endless = () =>
    new Response(
      new ReadableStream({
        pull: (controller) => {
          sent += part.length
          controller.enqueue(part)
        },
      }),
    )
  const { url } = serve(endless)
  const outcome = await outgoing(url, { retries: { ...retries, max: 1 } }).call(post)
  expect(outcome).toMatchObject({ kind: 'unknown', tries: 2 })
  expect(outcome.kind === 'unknown' && outcome.error.message).toBe('the other side answered 200 with too much')
  await eventually(() => {
    const before = sent
    return Bun.sleep(20).then(() => expect(sent).toBe(before))
  })
})

const faults = {
  'a 503': () => new Response('busy', { status: 503 }),
  'a 429': () => new Response('slower', { status: 429 }),
  'a reset': reset,
  'a page of a proxy': () => new Response('<p>Not found</p>', { status: 404 }),
  'half an answer': () => new Response('{"id":', { status: 200 }),
}

for (const [name, fault] of Object.entries(faults)) {
  test(`after ${name} a call with a key is tried again with the same key and body`, async () => {
    const { seen, url } = serve(fault, fault, () => ok())
    expect(await outgoing(url).call(post)).toMatchObject({ kind: 'answered', status: 200 })
    expect(seen).toEqual(Array.from({ length: 3 }, () => seen[0] as Seen))
  })

  test(`after ${name} a call without a key is not tried again, and its outcome is unknown`, async () => {
    const { seen, url } = serve(fault, () => ok())
    const { idempotencyKey: _, ...call } = post
    expect(await outgoing(url).call(call)).toMatchObject({ kind: 'unknown', tries: 1 })
    expect(seen).toHaveLength(1)
  })
}

test('a read needs no key to be tried again', async () => {
  const { seen, url } = serve(faults['a 503'], () => ok())
  const call = { method: 'GET', path: '/things?key=a%20b' } as const
  expect(await outgoing(url).call(call)).toMatchObject({ kind: 'answered' })
  expect(seen.map(({ path }) => path)).toEqual(['/things?key=a%20b', '/things?key=a%20b'])
})

test('a try that is not answered in time is given up and made again', async () => {
  const { seen, url } = serve(never, () => ok())
  expect(await outgoing(url, { timeoutMs: 30 }).call(post)).toMatchObject({ kind: 'answered' })
  expect(seen).toHaveLength(2)
})

test('an answer that stops half-way is a try that is not answered in time', async () => {
  const { seen, url } = serve(stuck, () => ok())
  expect(await outgoing(url, { timeoutMs: 30 }).call(post)).toMatchObject({ kind: 'answered' })
  expect(seen).toHaveLength(2)
})

test('after the last try the outcome is unknown, with the error of that try', async () => {
  const { seen, url } = serve(faults['a 503'])
  const outcome = await outgoing(url).call(post)
  expect(outcome).toMatchObject({ kind: 'unknown', tries: 5, error: { message: 'the other side answered 503' } })
  expect(seen).toHaveLength(5)
})

test('the outcome of a call to nobody is unknown', async () => {
  const { url, server } = serve(() => ok())
  await server.stop(true)
  expect(await outgoing(url).call(post)).toMatchObject({ kind: 'unknown', tries: 5 })
})

test('the deadline ends a call whose tries would go on', async () => {
  const { url } = serve(never)
  const endless = { max: Number.MAX_SAFE_INTEGER, firstMs: 1, maxMs: 2 }
  const outcome = await outgoing(url, { timeoutMs: 10, deadlineMs: 100, retries: endless }).call(post)
  expect(outcome).toMatchObject({ kind: 'unknown', error: { message: 'the other side did not answer in time' } })
})

test('the deadline ends a wait between two tries', async () => {
  const { url } = serve(faults['a 503'])
  const patient = { max: 4, firstMs: 600_000, maxMs: 600_000 }
  const outcome = await outgoing(url, { deadlineMs: 50, retries: patient }).call(post)
  expect(outcome).toMatchObject({ kind: 'unknown', tries: 1, error: { message: 'the other side answered 503' } })
})

test('the deadline ends the only try of a call without a key', async () => {
  const { url } = serve(never)
  const { idempotencyKey: _, ...call } = post
  expect(await outgoing(url, { deadlineMs: 50 }).call(call)).toMatchObject({ kind: 'unknown', tries: 1 })
})

test('a call whose signal has fired is not sent', async () => {
  const { seen, url } = serve(() => ok())
  expect(await outgoing(url).call({ ...post, signal: AbortSignal.abort() })).toMatchObject({ kind: 'not-sent' })
  expect(seen).toEqual([])
})

test('a signal ends a call under way, and one that waits to try again', async () => {
  for (const answer of [never, faults['a 503']]) {
    const { seen, url } = serve(answer)
    const stopping = new AbortController()
    const patient = { max: 4, firstMs: 600_000, maxMs: 600_000 }
    const options = { timeoutMs: 600_000, deadlineMs: 600_000, retries: patient }
    const outcome = outgoing(url, options).call({ ...post, signal: stopping.signal })
    await eventually(() => expect(seen).toHaveLength(1))
    stopping.abort()
    expect(await outcome).toMatchObject({ kind: 'unknown', tries: 1 })
  }
})

test('the breaker holds calls back after faults in a row, lets one through, and closes when that is answered', async () => {
  setSystemTime(new Date('2026-01-01T00:00:00Z'))
  let up = false
  const { seen, url } = serve(() => (up ? ok() : new Response(null, { status: 500 })))
  const client = outgoing(url, { retries: { ...retries, max: 1 }, breaker: { calls: 3, openMs: 60_000 } })
  const kinds = async (count: number) => {
    const found: string[] = []
    for (let call = 0; call < count; call += 1) found.push((await client.call(post)).kind)
    return found
  }
  expect(await kinds(5)).toEqual(['unknown', 'unknown', 'unknown', 'not-sent', 'not-sent'])
  expect(seen).toHaveLength(6)

  setSystemTime(new Date('2026-01-01T00:01:00Z'))
  expect(await kinds(2)).toEqual(['unknown', 'not-sent'])
  expect(seen).toHaveLength(8)

  up = true
  expect(await kinds(1)).toEqual(['not-sent'])
  setSystemTime(new Date('2026-01-01T00:02:00Z'))
  expect(await kinds(2)).toEqual(['answered', 'answered'])

  up = false
  expect(await kinds(4)).toEqual(['unknown', 'unknown', 'unknown', 'not-sent'])
})

test('while one call probes a broken side, the others wait for what it finds', async () => {
  setSystemTime(new Date('2026-01-01T00:00:00Z'))
  const probe = Promise.withResolvers<Response>()
  const { seen, url } = serve(
    reset,
    () => probe.promise,
    () => ok(),
  )
  const client = outgoing(url, { retries: { ...retries, max: 0 }, breaker: { calls: 1, openMs: 60_000 } })
  expect(await client.call(post)).toMatchObject({ kind: 'unknown' })
  setSystemTime(new Date('2026-01-01T00:01:00Z'))
  const calls = [client.call(post), client.call(post), client.call(post)]
  await eventually(() => expect(seen).toHaveLength(2))
  probe.resolve(ok())
  expect((await Promise.all(calls)).map(({ kind }) => kind)).toEqual(['answered', 'answered', 'answered'])
})

test('faults that retries cure, and refusals, leave the breaker closed', async () => {
  const turns = [faults['a 503'], faults['a 503'], () => ok(), () => Response.json({}, { status: 422 })]
  const { url } = serve(...Array.from({ length: 10 }, () => turns).flat())
  const client = outgoing(url, { breaker: { calls: 1, openMs: 60_000 } })
  for (let call = 0; call < 20; call += 1) expect(await client.call(post)).toMatchObject({ kind: 'answered' })
})

test('a call that its caller ended does not count against the other side', async () => {
  const { seen, url } = serve(never, () => ok())
  const client = outgoing(url, { breaker: { calls: 1, openMs: 60_000 } })
  const stopping = new AbortController()
  const ended = client.call({ ...post, signal: stopping.signal })
  await eventually(() => expect(seen).toHaveLength(1))
  stopping.abort()
  await ended
  expect(await client.call(post)).toMatchObject({ kind: 'answered' })
})
