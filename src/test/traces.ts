import { openPostgres } from '#platform/postgres'
import type { Environment } from '../config.ts'
import { openTestRedis } from './redis.ts'
import { type TopicRecord, readTopic } from './topic.ts'

const schemas = ['users', 'orders', 'payments']

/** Looks through everything that is kept for any of some words. */
export const openTraces = async (environment: Environment, topics: string[]) => {
  const owner = openPostgres({ url: environment['DATABASE_URL'] ?? '', name: 'test', poolSize: 2 })
  const redis = openTestRedis(environment)
  const readers = await Promise.all(topics.map(async (topic) => ({ topic, ...(await readTopic(environment, topic)) })))

  const tables = async (): Promise<string[]> => {
    const rows = await owner.run(
      `select format('%I.%I', table_schema, table_name) as name from information_schema.tables
        where table_schema = any($1::text[]) and table_type = 'BASE TABLE'`,
      [`{${schemas.join()}}`],
    )
    return rows.map(({ name }) => String(name))
  }

  /** The tables with a row in which a word stands, in whatever column. */
  const inTables = async (words: string[]): Promise<string[]> => {
    const found: string[] = []
    for (const table of await tables()) {
      const patterns = JSON.stringify(words.map((word) => `%${word}%`))
      const [row] = await owner.run(
        `select count(*)::int as count from ${table} as kept
          where kept::text ilike any (select json_array_elements_text($1::json))`,
        [patterns],
      )
      if (Number(row?.['count']) > 0) found.push(table)
    }
    return found
  }

  const valueOf = async (key: string): Promise<string> => {
    const type = await redis.type(key)
    if (type === 'string') return (await redis.get(key)) ?? ''
    if (type === 'zset') return (await redis.zrange(key, '0', '-1')).join()
    if (type === 'none') return ''
    throw new Error(`${key} is a ${type}, which this does not look into.`)
  }

  /** The keys that a word stands in, or in the value of. */
  const inRedis = async (words: string[]): Promise<string[]> => {
    const keys = await redis.keys('*')
    const kept = await Promise.all(keys.map(async (key) => ({ key, text: `${key} ${await valueOf(key)}` })))
    return kept.filter(({ text }) => mentions(text, words)).map(({ key }) => key)
  }

  /** The topics with a message that has a word in its key, its headers or its value. */
  const inTopics = (words: string[]): string[] =>
    readers.filter(({ records }) => records.some((record) => mentions(textOf(record), words))).map(({ topic }) => topic)

  return {
    tables,
    inTables,
    inRedis,
    inTopics,
    topic: (name: string) => {
      const reader = readers.find(({ topic }) => topic === name)
      if (!reader) throw new Error(`${name} is not read.`)
      return reader
    },
    close: async () => {
      await Promise.all(readers.map(({ stop }) => stop()))
      redis.disconnect()
      await owner.close()
    },
  }
}

export const mentions = (text: string, words: string[]): boolean => {
  const lower = text.toLowerCase()
  return words.some((word) => lower.includes(word.toLowerCase()))
}

const textOf = ({ key, value, headers }: TopicRecord): string =>
  [key, value, JSON.stringify(headers)].map(String).join(' ')
