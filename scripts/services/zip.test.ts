import { expect, test } from 'bun:test'
import { crc32, deflateRawSync } from 'node:zlib'
import { readFromZip } from './zip.ts'

type Entry = { name: string; text: string; deflated: boolean }

const zipOf = (entries: Entry[]): Buffer => {
  const locals: Buffer[] = []
  const directory: Buffer[] = []
  let offset = 0
  for (const { name, text, deflated } of entries) {
    const raw = Buffer.from(text)
    const bytes = deflated ? deflateRawSync(raw) : raw
    // The fields that a local header and the directory share, after their signatures and the latter's extra version.
    const shared = Buffer.alloc(26)
    shared.writeUInt16LE(20, 0)
    shared.writeUInt16LE(deflated ? 8 : 0, 4)
    shared.writeUInt32LE(crc32(raw), 10)
    shared.writeUInt32LE(bytes.length, 14)
    shared.writeUInt32LE(raw.length, 18)
    shared.writeUInt16LE(Buffer.byteLength(name), 22)
    const local = Buffer.concat([Buffer.from('PK\u0003\u0004'), shared, Buffer.from(name), bytes])
    const rest = Buffer.alloc(14)
    rest.writeUInt32LE(offset, 10)
    directory.push(
      Buffer.concat([Buffer.from('PK\u0001\u0002'), Buffer.from([20, 0]), shared, rest, Buffer.from(name)]),
    )
    locals.push(local)
    offset += local.length
  }
  const listed = Buffer.concat(directory)
  const end = Buffer.alloc(22)
  end.write('PK\u0005\u0006', 0, 'latin1')
  end.writeUInt16LE(entries.length, 10)
  end.writeUInt32LE(listed.length, 12)
  end.writeUInt32LE(offset, 16)
  return Buffer.concat([...locals, listed, end])
}

const zip = zipOf([
  { name: 'META-INF/x', text: 'first', deflated: false },
  { name: 'server-linux-amd64', text: 'deflated '.repeat(100), deflated: true },
])

test('a file is read out of a zip archive, stored or deflated', () => {
  expect(readFromZip(zip, (name) => name.endsWith('/x'))?.toString()).toBe('first')
  expect(readFromZip(zip, (name) => name.endsWith('-linux-amd64'))?.toString()).toBe('deflated '.repeat(100))
})

test('a file that is not in the archive is not found, and what is no archive is refused', () => {
  expect(readFromZip(zip, () => false)).toBeUndefined()
  expect(() => readFromZip(Buffer.from('not a zip archive, not at all'), () => true)).toThrow('not a zip archive')
})
