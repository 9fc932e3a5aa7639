import { describe, expect, test } from 'bun:test'
import { Hono } from 'hono'
import { type Receiver, createChannels } from '#platform/channels'
import { DomainError, OverloadedError, UnavailableError } from '#platform/errors'
import { createNews } from '#platform/news'
import { eventually } from '../test/eventually.ts'
import { createLoad } from './load.ts'
import { awaitPreferred, preferredSeconds } from './prefer.ts'

describe('a client prefers to wait', () => {
  const said: [prefer: string | undefined, seconds: number][] = [
    [undefined, 0],
    ['', 0],
    ['respond-async', 0],
    ['wait=10', 10],
    ['Wait = 10', 10],
    ['wait="10"', 10],
    ['respond-async, wait=10', 10],
    ['wait=10; foo=bar, return=minimal', 10],
    ['wait=1000', 30],
    ['wait=999999999', 30],
    ['wait=0', 0],
    ['wait=-1', 0],
    ['wait=1.5', 0],
    ['wait=soon', 0],
    ['await=10', 0],
    ['wait=99999999999999999999', 0],
  ]
  for (const [prefer, seconds] of said) {
    test(`${seconds} s by ${prefer}`, () => expect(preferredSeconds(prefer)).toBe(seconds))
  }
})

const key = 'orders:order:a'

const never = 3_600_000

const answering = { subscribe: () => Promise.resolve(), unsubscribe: () => Promise.resolve() }
const refusing = { ...answering, subscribe: () => Promise.reject(new Error('Connection is closed.')) }

type Opening = { fail?: Error; lookEveryMs?: number; receiver?: Receiver }

/** A process of two places, whose work ends by `end`. */
const open = ({ fail, lookEveryMs = never, receiver = answering }: Opening = {}) => {
  const stopping = new AbortController()
  const channels = createChannels(() => receiver)
  const news = createNews({ subscribe: channels.listen })
  const waits = { load: createLoad(2), stopping: stopping.signal, news, lookEveryMs }
  const state: { found?: string; looks: number } = { looks: 0 }
  const look = () => {
    state.looks += 1
    return fail && state.looks < 3 ? Promise.reject(fail) : Promise.resolve(state.found)
  }
  const end = () => {
    state.found = 'ended'
    channels.say(key, '2')
  }
  const app = new Hono()
  app.use((_, next) => waits.load.admit(next))
  app.post('/', async (c) => c.text((await awaitPreferred(c, waits, { key, look })) ?? 'accepted'))
  app.get('/', (c) => c.text('read'))
  app.onError((error, c) => c.text(error.message, error instanceof OverloadedError ? 503 : 500))
  const post = async (prefer = 'wait=30', signal = new AbortController().signal) => {
    const response = await app.request('/', { method: 'POST', headers: { prefer }, signal })
    return { text: await response.text(), applied: response.headers.get('preference-applied') }
  }
  const isWaiting = (looks = 1) => eventually(() => expect(state.looks).toBeGreaterThanOrEqual(looks))
  return { app, post, state, end, say: channels.say, stand: channels.stand, stopping, isWaiting }
}

describe('while a request waits', () => {
  test('it is answered with what it is told of, and that it waited', async () => {
    const { post, end, isWaiting } = open()
    const waiting = post('wait=20')
    await isWaiting()
    end()
    expect(await waiting).toEqual({ text: 'ended', applied: 'wait=20' })
  })

  test('it looks again for each change, and not for those of another', async () => {
    const { post, state, end, say, isWaiting } = open()
    const waiting = post()
    await isWaiting()
    say('orders:order:b', '2')
    say(key, '2')
    await isWaiting(2)
    end()
    await waiting
    expect(state.looks).toBe(3)
  })

  test('what was said while nobody could hear is found when the connection stands again', async () => {
    const { post, state, stand, isWaiting } = open()
    const waiting = post()
    await isWaiting()
    state.found = 'ended'
    stand()
    expect((await waiting).text).toBe('ended')
  })

  test('what nobody said is found a little later', async () => {
    const { post, state, isWaiting } = open({ lookEveryMs: 20 })
    const waiting = post()
    await isWaiting(2)
    state.found = 'ended'
    expect((await waiting).text).toBe('ended')
  })

  test('it looks now and then when Redis takes no subscriptions', async () => {
    const { post, state, isWaiting } = open({ lookEveryMs: 20, receiver: refusing })
    const waiting = post()
    await isWaiting(2)
    state.found = 'ended'
    expect((await waiting).text).toBe('ended')
  })

  test('its place is another’s', async () => {
    const { app, post, end, isWaiting } = open()
    const waiting = [post(), post()]
    await isWaiting(2)
    expect((await app.request('/')).status).toBe(200)
    expect(await post('wait=0')).toEqual({ text: 'accepted', applied: null })
    end()
    for (const { text } of await Promise.all(waiting)) expect(text).toBe('ended')
  })

  test('no more may wait than may be worked on: another is answered at once', async () => {
    const { post, end, isWaiting } = open()
    const waiting = [post(), post()]
    await isWaiting(2)
    expect(await post()).toEqual({ text: 'accepted', applied: null })
    end()
    await Promise.all(waiting)
  })

  test('a stop of the process ends the wait', async () => {
    const { post, stopping, isWaiting } = open()
    const waiting = post()
    await isWaiting()
    stopping.abort()
    expect((await waiting).text).toBe('accepted')
  })

  test('a client that leaves ends the wait', async () => {
    const { post, isWaiting } = open()
    const client = new AbortController()
    const waiting = post('wait=30', client.signal)
    await isWaiting()
    client.abort()
    expect((await waiting).text).toBe('accepted')
  })

  for (const fail of [new DomainError('not-found', 'Not there yet.'), new UnavailableError('Redis is away.')]) {
    test(`it goes on when a look finds: ${fail.message}`, async () => {
      const { post, state } = open({ fail, lookEveryMs: 20 })
      state.found = 'ended'
      expect((await post()).text).toBe('ended')
    })
  }

  test('a fault ends it', async () => {
    const { post } = open({ fail: new Error('broken') })
    expect((await post()).text).toBe('broken')
  })
})

test('what does not come in time is not waited for any longer', async () => {
  const { post } = open()
  expect(await post('wait=1')).toEqual({ text: 'accepted', applied: 'wait=1' })
})
