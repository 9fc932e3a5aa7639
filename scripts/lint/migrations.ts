import type { Finding, Source } from './boundaries.ts'

/** Comments and string literals blanked, lines kept. The body of a dollar quote stays: it is code. */
const codeOf = (sql: string) => {
  const skip = /--[^\n]*|\/\*[\s\S]*?\*\/|'(?:[^']|'')*'|\$\w*\$/g
  return sql.replace(skip, (text) => text.replace(/[^\n]/g, ' '))
}

/** A name before a dot, unless it stands behind one itself; a name behind `schema`; what `search_path` is set to. */
const mentionPattern =
  /(?<!\.\s*)(?<![\w"])("?)([a-z_]\w*)\1\s*\.|\bschema\s+"?(\w+)|\bsearch_path\s*(?:=|to)\s*([^;]+)/gi

const schemaOf = (path: string) => /^db\/migrations\/([^/]+)\//.exec(path)?.[1]

/**
 * A migration names none of `schemas` (the folders of db/migrations) but its own; those of `platform` run in every
 * schema and name none.
 */
export const checkMigrations = (files: Source[], schemas: readonly string[]): Finding[] =>
  files.flatMap(({ path, text }) => {
    const code = codeOf(text)
    return [...code.matchAll(mentionPattern)].flatMap((match) => {
      const names = (match[2] ?? match[3] ?? match[4] ?? '').toLowerCase().match(/\w+/g) ?? []
      const foreign = names.find((name) => schemas.includes(name) && name !== schemaOf(path))
      if (foreign === undefined) return []
      const line = code.slice(0, match.index).split('\n').length
      const way = 'a module holds what it needs of another in its own tables, kept by events'
      return [{ file: path, line, rule: 'own-schema', what: `mentions the schema ${foreign}`, way }]
    })
  })
