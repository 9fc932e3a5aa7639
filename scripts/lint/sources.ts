import { type Dirent, readFileSync, readdirSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import type { Finding, Source } from './boundaries.ts'
import type { Project } from './resolve.ts'

/** Everything that the boundary checks read, from one walk over the tree. */
export type Tree = { sources: Source[]; migrations: Source[]; schemas: string[]; links: Finding[]; project: Project }

const roots = ['src', 'modules', 'scripts']

type Manifest = { imports?: Record<string, string>; dependencies?: object; devDependencies?: object }
type Settings = { compilerOptions?: { jsxImportSource?: string } }

const entriesIn = (root: string, folder: string): Dirent[] => {
  try {
    return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
  } catch (error) {
    throw new Error(`the boundary check cannot read ${folder}/`, { cause: error })
  }
}

const pathIn = (root: string, entry: Dirent) => relative(root, join(entry.parentPath, entry.name)).split(sep).join('/')

const read = (root: string, entries: Dirent[], pattern: RegExp): Source[] =>
  entries
    .filter((entry) => entry.isFile() && pattern.test(entry.name))
    .map((entry) => pathIn(root, entry))
    .toSorted()
    .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }))

const json = (root: string, path: string): unknown => JSON.parse(readFileSync(join(root, path), 'utf8'))

/** A link would give a file a second place, with other rights. */
const refuseLink = (root: string, entry: Dirent): Finding => ({
  file: pathIn(root, entry),
  line: 1,
  rule: 'no-link',
  what: 'a symbolic link',
  way: 'import the file by its door instead of linking to it',
})

/** Reads the tree below `root`. Throws when one of its source folders holds no source: nothing checked is no pass. */
export const readTree = (root: string): Tree => {
  const entries = roots.map((folder) => entriesIn(root, folder))
  const found = entries.map((inFolder) => read(root, inFolder, /\.[cm]?[jt]sx?$/))
  const empty = roots.filter((_, at) => found[at]?.length === 0)
  if (empty.length > 0) throw new Error(`the boundary check found no source in ${empty.join(', ')}`)
  const sources = found.flat()
  const database = entriesIn(root, 'db')
  const manifest = json(root, 'package.json') as Manifest
  const settings = json(root, 'tsconfig.json') as Settings
  return {
    sources,
    migrations: read(root, database, /\.sql$/).filter(({ path }) => path.startsWith('db/migrations/')),
    schemas: readdirSync(join(root, 'db/migrations')),
    links: entries
      .flat()
      .filter((entry) => entry.isSymbolicLink())
      .map((entry) => refuseLink(root, entry)),
    project: {
      files: new Set(sources.map(({ path }) => path)),
      imports: manifest.imports ?? {},
      dependencies: new Set(Object.keys(manifest.dependencies ?? {})),
      devDependencies: new Set(Object.keys(manifest.devDependencies ?? {})),
      jsxImportSource: settings.compilerOptions?.jsxImportSource ?? 'react',
    },
  }
}
