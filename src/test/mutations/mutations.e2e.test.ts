import { expect, setDefaultTimeout, test } from 'bun:test'
import { testServices } from '../services.ts'
import { runInCopy } from './copy.ts'
import { mutations } from './mutations.ts'

setDefaultTimeout(180_000)

const services = await testServices()

test('in an unchanged copy of the tree each of the tests passes', async () => {
  const wanted = mutations.map(({ noticedBy }) => noticedBy)
  const outcomes = await runInCopy(wanted, services)
  expect(outcomes).toEqual(wanted.map(({ test }) => ({ test, outcome: 'pass' })))
})

for (const mutation of mutations) {
  const { mechanism, noticedBy, bystander } = mutation
  test(`without ${mechanism} "${noticedBy.test}" fails`, async () => {
    const both = [noticedBy, { ...noticedBy, test: bystander }]
    expect(await runInCopy(both, services, mutation)).toEqual([
      { test: noticedBy.test, outcome: 'fail' },
      { test: bystander, outcome: 'pass' },
    ])
  })
}
