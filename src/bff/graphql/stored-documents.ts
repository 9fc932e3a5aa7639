import { readFileSync, readdirSync } from 'node:fs'
import { join, sep } from 'node:path'
import { GraphQLError } from 'graphql'
import type { Parameters } from './asked.ts'

const folder = join(import.meta.dir, '../documents')

/** The texts of `<client>/<name>.graphql` in a folder, each under `<client>/<name>`. */
export const readStoredTexts = (from = folder): Map<string, string> => {
  const files = readdirSync(from, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.graphql'))
  return new Map(
    files
      .toSorted()
      .map((file) => [file.slice(0, -'.graphql'.length).replaceAll(sep, '/'), readFileSync(join(from, file), 'utf8')]),
  )
}

/** Puts the texts of stored documents in the place of their names. */
export type StoredDocuments = {
  /** @throws GraphQLError `unknown-document`, `document-required` */
  inParameters(parameters: Parameters): Parameters
  /** @throws GraphQLError `unknown-document`, `document-required` */
  inSearch(url: string): string
  /** A request that cannot name a document. @throws GraphQLError `document-required` */
  refuseText(): void
}

/** With `only`, nothing else is run. */
export const createStoredDocuments = (texts: ReadonlyMap<string, string>, only: boolean): StoredDocuments => {
  const known = new Set(texts.values())
  const refuseText = (query?: unknown) => {
    // The whole text of a stored document is as good as its name: it is how one process asks another.
    if (!only || (typeof query === 'string' && known.has(query))) return
    const message = `Only stored documents are run here: send {"documentId": "<client>/<name>", "variables": {}}.`
    throw new GraphQLError(message, { extensions: { code: 'document-required' } })
  }
  const textOf = (id: unknown, query: unknown): string => {
    const text = typeof id === 'string' ? texts.get(id) : undefined
    const refuse = (message: string, code: string) => new GraphQLError(message, { extensions: { code } })
    if (query !== undefined && query !== null) throw refuse('Send documentId or query, and not both.', 'invalid-query')
    if (text === undefined) throw refuse(`There is no stored document ${JSON.stringify(id)}.`, 'unknown-document')
    return text
  }
  return {
    refuseText,
    inParameters: (parameters) => {
      if (parameters['documentId'] === undefined) {
        refuseText(parameters['query'])
        return parameters
      }
      const { documentId, query, extensions: _, ...rest } = parameters
      return { ...rest, query: textOf(documentId, query) }
    },
    inSearch: (url) => {
      const asked = new URL(url)
      const { searchParams } = asked
      const [id, query] = [searchParams.get('documentId'), searchParams.get('query')]
      if (id === null) {
        if (query !== null) refuseText(query)
        return url
      }
      searchParams.delete('documentId')
      searchParams.set('query', textOf(id, query))
      return asked.href
    },
  }
}
