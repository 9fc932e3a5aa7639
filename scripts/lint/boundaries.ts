import { type Edge, edgesOf } from './edges.ts'
import { type PackageTarget, type Project, resolve } from './resolve.ts'
import { type Place, type PlaceName, forTests, homes, places, reserved } from './rules.ts'

/** One import that the table refuses, and the way that is allowed. */
export type Finding = { file: string; line: number; rule: string; what: string; way: string }
export type Source = { path: string; text: string }
export type Checked = { findings: Finding[]; files: number; edges: number }

type Verdict = { rule: string; way: string } | undefined

const matches = (globs: readonly string[], path: string) => globs.some((glob) => new Bun.Glob(glob).match(path))
const isTest = (path: string) => /\.test\.[cm]?[jt]sx?$/.test(path)
const moduleOf = (path: string) => /^modules\/([^/]+)\//.exec(path)?.[1]

const placeOf = (path: string): Place | undefined => places.find(({ files }) => matches(files, path))

const nameOf = (path: string): PlaceName | undefined => {
  if (path.startsWith('db/')) return 'db'
  if (!path.includes('/')) return 'root'
  return placeOf(path)?.name
}

/** The name that leads to `path` for whoever stands in `place`. */
const doorTo = (place: Place, path: string) => {
  const name = moduleOf(path)
  if (path.startsWith('src/platform/'))
    return `\`#platform/${path.slice('src/platform/'.length).replace(/\.tsx?$/, '')}\``
  if (name === undefined) return undefined
  const doors = [
    place.may.includes('index') && `\`#modules/${name}\``,
    place.may.includes('events') && `\`#events/${name}\``,
  ]
  return doors.filter((door) => door !== false).join(' or ') || undefined
}

const judgeFile = (from: string, place: Place, path: string, by: 'name' | 'path'): Verdict => {
  const [home, other] = [moduleOf(from), moduleOf(path)]
  const door = doorTo(place, path)
  const way = door === undefined ? place.way : `import ${door} instead: ${place.way}`
  const target = nameOf(path)
  const allowed: readonly string[] = isTest(from) ? [...place.may, ...forTests.may] : place.may
  if (home !== undefined && home === other) {
    if (by === 'name') return { rule: 'own-door', way: 'inside a module, import its files by relative path' }
    return allowed.includes('own') ? undefined : { rule: place.rule, way: place.way }
  }
  const opened = target !== undefined && allowed.includes(target)
  const kept = target === undefined ? undefined : reserved[target]
  if (kept !== undefined) return opened ? undefined : kept
  if (by === 'path' && (home !== undefined || other !== undefined || path.startsWith('..')))
    return { rule: 'relative-climb', way }
  return opened ? undefined : { rule: place.rule, way }
}

const covers = (pattern: string, specifier: string) =>
  pattern.endsWith('*')
    ? specifier.startsWith(pattern.slice(0, -1))
    : specifier === pattern || specifier.startsWith(`${pattern}/`)

const judgePackage = (from: string, place: Place, { specifier, name }: PackageTarget, project: Project): Verdict => {
  const home = homes.find(({ packages }) => packages.some((pattern) => covers(pattern, specifier)))
  if (home !== undefined && !matches(home.homes, from)) return home
  if (name === undefined) {
    const closed = place.builtins === false && !isTest(from)
    return closed ? { rule: 'no-builtin', way: 'a module gets its input and output through its context' } : undefined
  }
  if (!project.dependencies.has(name) && !project.devDependencies.has(name))
    return { rule: 'unlisted-package', way: 'list the package in package.json, or do without it' }
  const allowed: readonly string[] | undefined = place.packages && [
    ...place.packages,
    ...(isTest(from) ? forTests.packages : []),
  ]
  if (allowed !== undefined && !allowed.includes(name))
    return { rule: 'closed-packages', way: `the packages of this place are ${allowed.join(', ')}` }
  const shipped = !isTest(from) && place.name !== 'test' && place.name !== 'scripts'
  if (shipped && !project.dependencies.has(name))
    return { rule: 'dev-package', way: 'only tests and scripts may import a development dependency' }
  return undefined
}

const judge = (from: string, place: Place, { specifier }: Edge, project: Project): Verdict => {
  if (specifier === undefined)
    return place.name === 'scripts'
      ? undefined
      : { rule: 'literal-import', way: 'write the specifier as a literal string' }
  const target = resolve(from, specifier, project)
  if (target.kind === 'absolute')
    return { rule: 'absolute-import', way: 'import by relative path, by `#` name or by package' }
  if (target.kind === 'no-door')
    return { rule: 'door-name', way: `the names are ${Object.keys(project.imports).join(', ')}` }
  if (target.kind === 'file') return judgeFile(from, place, target.path, target.by)
  return judgePackage(from, place, target, project)
}

/** Every import of `sources` against the table of rules.ts. Throws when it is given nothing or a text it cannot parse. */
export const checkBoundaries = (sources: Source[], project: Project): Checked => {
  if (sources.length === 0) throw new Error('the boundary check was given no file')
  const findings: Finding[] = []
  let edges = 0
  for (const { path, text } of sources) {
    const place = placeOf(path)
    if (place === undefined) {
      const way = 'move it, or give the folder a row in scripts/lint/rules.ts'
      findings.push({ file: path, line: 1, rule: 'no-place', what: 'a file outside the layout', way })
      continue
    }
    for (const edge of edgesIn(path, text, project)) {
      edges += 1
      const verdict = judge(path, place, edge, project)
      const what = `${edge.form} ${edge.specifier === undefined ? 'of a computed name' : `'${edge.specifier}'`}`
      if (verdict !== undefined)
        findings.push({ file: path, line: edge.line, what, rule: verdict.rule, way: verdict.way })
    }
  }
  return { findings, files: sources.length, edges }
}

const edgesIn = (path: string, text: string, project: Project) => {
  try {
    return edgesOf(path, text, project.jsxImportSource)
  } catch (error) {
    throw new Error(`the boundary check cannot parse ${path}`, { cause: error })
  }
}
