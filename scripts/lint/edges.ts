import { type CallExpression, type Expression, type NewExpression, Visitor, parseSync } from 'oxc-parser'

/** One way from a file to another. `specifier` is undefined when the code computes it. */
export type Edge = { form: string; specifier: string | undefined; line: number }

type Argument = CallExpression['arguments'][number]

/** The text of a constant string, through brackets and type assertions. */
const textOf = (node: Argument | undefined): string | undefined => {
  if (node === undefined) return undefined
  if (node.type === 'Literal') return typeof node.value === 'string' ? node.value : undefined
  if (node.type === 'TemplateLiteral')
    return node.expressions.length === 0 ? (node.quasis[0]?.value.cooked ?? undefined) : undefined
  if (node.type === 'TSAsExpression' || node.type === 'TSSatisfiesExpression' || node.type === 'TSNonNullExpression')
    return textOf(node.expression)
  return undefined
}

/** `a.b.c` as text; the empty string for what is not a plain chain of names. */
export const nameOf = (node: Expression | { type: 'Super' }): string => {
  if (node.type === 'Identifier') return node.name
  if (node.type === 'MetaProperty') return 'import.meta'
  if (node.type === 'ChainExpression') return nameOf(node.expression)
  if (node.type !== 'MemberExpression') return ''
  const property =
    node.property.type === 'Identifier' && !node.computed ? node.property.name : textOf(node.property as Argument)
  return `${nameOf(node.object)}.${property ?? ''}`
}

const calls = new Set([
  'require',
  'require.resolve',
  'module.require',
  'import.meta.require',
  'import.meta.resolve',
  'import.meta.resolveSync',
  'Bun.resolve',
  'Bun.resolveSync',
  'mock.module',
  'jest.mock',
  'jest.requireActual',
  'vi.mock',
  'process.getBuiltinModule',
])

/** `pkg/${file}`: which package it is stands fast, and to resolve a path in it loads nothing. */
const packageIn = (node: Argument | undefined) => {
  const head = node?.type === 'TemplateLiteral' ? node.quasis[0]?.value.cooked : undefined
  return /^(?:@[\w.-]+\/)?[a-z][\w.-]*\//.exec(head ?? '')?.[0]
}

const isSource = (text: string) => /^(?:\.|\/|file:).*\.[cm]?[jt]sx?$/.test(text)

/** A worker that is given a URL or this very file has its edge counted elsewhere, or none. */
const countsElsewhere = (node: Argument | undefined) =>
  node?.type === 'NewExpression' || (node?.type === 'MemberExpression' && nameOf(node).startsWith('import.meta.'))

const referencePattern = /^\/\s*<reference\s+(path|types)\s*=\s*["']([^"']+)["']/
const jsxPattern = /@jsxImportSource\s+(\S+)/

/**
 * Every import of a source text, type-only ones included, since a type is knowledge too. JSX counts as an import of
 * `jsxImportSource`. Throws when the text cannot be parsed: a file that is not read must not pass.
 */
export const edgesOf = (path: string, text: string, jsxImportSource = 'react'): Edge[] => {
  const { program, errors, comments } = parseSync(path, text, { preserveParens: false })
  const error = errors[0]
  if (error !== undefined) throw new SyntaxError(error.message)

  const edges: Edge[] = []
  const add = (form: string, specifier: string | undefined, start: number) =>
    edges.push({ form, specifier, line: text.slice(0, start).split('\n').length })

  let jsx: number | undefined
  const sawJsx = (node: { start: number }) => {
    jsx ??= node.start
  }
  const onNew = (node: NewExpression) => {
    const [first] = node.arguments
    const name = nameOf(node.callee)
    const specifier = textOf(first)
    if (name === 'URL' && specifier !== undefined && isSource(specifier)) add('new URL()', specifier, node.start)
    if (/(?:^|\.)Worker$/.test(name) && !countsElsewhere(first)) add('new Worker()', specifier, node.start)
  }

  new Visitor({
    ImportDeclaration: (node) =>
      add(node.importKind === 'type' ? 'import type' : 'import', node.source.value, node.start),
    ExportNamedDeclaration: (node) => node.source && add('export from', node.source.value, node.start),
    ExportAllDeclaration: (node) => add('export * from', node.source.value, node.start),
    ImportExpression: (node) => add('import()', textOf(node.source), node.start),
    TSImportType: (node) => add('type import()', node.source.value, node.start),
    TSExternalModuleReference: (node) => add('import = require()', node.expression.value, node.start),
    TSModuleDeclaration: (node) => node.id.type === 'Literal' && add('declare module', node.id.value, node.start),
    CallExpression: (node) => {
      const name = nameOf(node.callee)
      const [first] = node.arguments
      const specifier = textOf(first) ?? (name.includes('.resolve') ? packageIn(first) : undefined)
      if (calls.has(name)) add(`${name}()`, specifier, node.start)
      // Under another name, `require` would import unseen.
      for (const argument of node.arguments)
        if (nameOf(argument as Expression) === 'require') add('require', undefined, node.start)
    },
    VariableDeclarator: (node) =>
      node.init && calls.has(nameOf(node.init)) && add(nameOf(node.init), undefined, node.start),
    NewExpression: onNew,
    JSXOpeningElement: sawJsx,
    JSXOpeningFragment: sawJsx,
  }).visit(program)

  for (const { value, start } of comments) {
    const reference = referencePattern.exec(value)
    if (reference) add('reference', reference[1] === 'path' ? `./${reference[2]}` : reference[2], start)
  }
  const pragma = comments.map(({ value }) => jsxPattern.exec(value)?.[1]).find((source) => source !== undefined)
  if (jsx !== undefined) add('JSX', `${pragma ?? jsxImportSource}/jsx-runtime`, jsx)
  return edges.toSorted((a, b) => a.line - b.line)
}
