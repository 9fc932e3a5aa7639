import { type CallExpression, type Expression, Visitor, parseSync } from 'oxc-parser'
import type { Finding, Source } from './boundaries.ts'
import { nameOf } from './edges.ts'

const rule = 'durable-step'
const way =
  'perform it inside `durable(step, () => ...)` of src/platform/durable.ts, so that a test can kill the process there'

/** Calls that change something outside the process, and the files that may make them, inside a durable step. */
type Primitive = { what: string; callee: RegExp; homes: string; seen: string }

const primitives: Primitive[] = [
  { what: 'a commit', callee: /^commit$/, homes: 'src/platform/postgres.ts', seen: 'src/platform/postgres.ts' },
  {
    what: 'a send to the broker or a commit of offsets',
    callee: /\.(?:send|sendBatch|commitOffsets|sendOffsets)$/,
    homes: 'src/platform/messaging/kafka.ts',
    seen: 'src/platform/messaging/kafka.ts',
  },
  {
    // Closed by default: what is not named here as a read is a write.
    what: 'a command to Redis that writes',
    callee: /^redis\.(?!(?:mget|info|pttl|zrange|scan|publish|pipeline|on|disconnect)$)|^pipeline\.exec$/,
    homes: 'src/platform/redis.ts',
    seen: 'src/platform/redis.ts',
  },
  {
    what: 'a request to the outside',
    callee: /^(?:globalThis\.|Bun\.)?fetch$/,
    homes: 'src/platform/outgoing.ts',
    seen: '{src,modules}/**',
  },
]

/** Where `run` always is a transaction's, whose commit is the step; where it runs no SQL, or reads the catalogue; migrations. */
const noneAlone = [
  'src/platform/messaging/kafka.ts',
  'src/platform/isolation.ts',
  'src/platform/messaging/{inbox,held}.ts',
  'src/platform/saga/store.ts',
  'src/platform/{retention,postgres,migrations}.ts',
]

const writes = /\b(?:insert into|update|delete from|truncate|copy|merge into)\b/i
const reads = /^\s*(?:select|with|values|show)\b/i

const matches = (glob: string, path: string) => new Bun.Glob(glob).match(path)
/** It hands on what a client asks for, and the process that is asked takes the steps. */
const handsOn = 'src/bff/forward.ts'

const isShipped = (path: string) =>
  /^(?:src|modules)\//.test(path) &&
  path !== handsOn &&
  !path.startsWith('src/test/') &&
  !/\.test\.[cm]?[jt]sx?$/.test(path)

type Call = { name: string; node: CallExpression }

/** Every call of a file, and the text of the constants that hold one. */
const readCalls = ({ path, text }: Source) => {
  const calls: Call[] = []
  const texts = new Map<string, string>()
  const { program, errors } = parseSync(path, text, { preserveParens: false })
  if (errors[0] !== undefined) throw new Error(`the check of durable steps cannot parse ${path}: ${errors[0].message}`)
  new Visitor({
    CallExpression: (node) => void calls.push({ name: nameOf(node.callee), node }),
    VariableDeclarator: ({ id, init }) => {
      const held = init ? constantOf(init) : undefined
      if (id.type === 'Identifier' && typeof held === 'string') texts.set(id.name, held)
    },
  }).visit(program)
  return { calls, texts }
}

/** The fixed parts of a string. */
const constantOf = (node: Expression): string | undefined => {
  if (node.type === 'Literal') return typeof node.value === 'string' ? node.value : undefined
  if (node.type === 'TemplateLiteral') return node.quasis.map(({ value }) => value.cooked ?? '').join('?')
  return undefined
}

/** Whether a statement on its own may write; one whose text is not known here may. */
const mayWrite = ({ node }: Call, texts: Map<string, string>): boolean => {
  const [first] = node.arguments
  if (first === undefined || first.type === 'SpreadElement') return true
  const text = constantOf(first) ?? (first.type === 'Identifier' ? texts.get(first.name) : undefined)
  return text === undefined || writes.test(text) || !reads.test(text)
}

/** What changes something outside the process and is not a named step; in the files that are shipped. */
export const checkSteps = (sources: Source[]): Finding[] => {
  const findings: Finding[] = []
  for (const source of sources.filter(({ path }) => isShipped(path))) {
    const { path } = source
    const { calls, texts } = readCalls(source)
    const steps = calls.flatMap(({ name, node }) => (/^(?:durable|write)$/.test(name) ? node.arguments.slice(1) : []))
    const isStep = ({ node }: Call) => steps.some(({ start, end }) => start <= node.start && node.end <= end)
    const refuse = (call: Call, what: string) =>
      findings.push({ file: path, line: source.text.slice(0, call.node.start).split('\n').length, rule, what, way })
    for (const call of calls) {
      for (const { what, callee, homes, seen } of primitives)
        if (callee.test(call.name) && matches(seen, path) && !(matches(homes, path) && isStep(call))) refuse(call, what)
      const alone =
        /(?:^|\.)run$/.test(call.name) && call.name !== 'transaction.run' && path.startsWith('src/platform/')
      if (!alone || noneAlone.some((glob) => matches(glob, path)) || isStep(call)) continue
      if (mayWrite(call, texts)) refuse(call, `a statement on its own, by \`${call.name}\`, that may write`)
    }
  }
  return findings
}
