import { expect, test } from 'bun:test'
import { createFloor, multirange } from './relay-floor.ts'

test('neighbouring ids become one range, whatever their order', () => {
  expect(multirange([])).toBe('{}')
  expect(multirange(['3', '1', '2', '9', '7', '8', '20'])).toBe('{[1,3],[7,9],[20,20]}')
})

const reading = (snapshots: [number, number][]) => {
  const left = [...snapshots]
  const floor = createFloor(() => {
    const [xmin, xmax] = left.shift() ?? [0, 0]
    return Promise.resolve([{ xmin: String(xmin), xmax: String(xmax) }])
  })
  const reads = async (count: number, lastId: string) => {
    for (let index = 0; index < count; index += 1) await floor.read(lastId)
  }
  return { floor, reads }
}

test('an id is the floor only after every transaction that was under way at its read has ended, and one more read', async () => {
  const { floor, reads } = reading([
    [100, 110],
    [105, 120],
    [120, 130],
  ])
  await reads(8, '8')
  await reads(8, '16')
  await reads(1, '17')
  expect(floor.current()).toBe('0')
  await reads(7, '24')
  expect(floor.current()).toBe('0')
  await reads(1, '25')
  expect(floor.current()).toBe('16')
})

test('a look back is one read from the lowest id, a reset forgets the floor', async () => {
  const { floor, reads } = reading([
    [100, 110],
    [110, 120],
  ])
  await reads(17, '9')
  expect(floor.current()).toBe('9')
  floor.lookBack()
  expect(floor.current()).toBe('0')
  await reads(1, '9')
  expect(floor.current()).toBe('9')
  floor.reset()
  expect(floor.current()).toBe('0')
})
