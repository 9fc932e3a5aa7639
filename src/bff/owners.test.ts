import { describe, expect, test } from 'bun:test'
import { z } from 'zod'
import { createFaces } from '../test/faces.ts'
import { createGraphql } from './graphql/yoga.ts'
import { type ModuleName, owners } from './owners.ts'

/** What every process answers for itself. */
const everywhere = ['/graphql', '/docs', '/openapi.json', '/livez', '/readyz', '/metrics', '/ops']

const { bff, logged } = await createFaces()
const { schema } = createGraphql({ graphiql: false, introspection: false, log: console as never, elsewhere: [] })

const under = (path: string, route: string) => path === route || path.startsWith(`${route}/`)

const ownersOfRoute = (path: string) =>
  Object.keys(owners).filter((name) => owners[name as ModuleName].routes.some((route) => under(path, route)))

describe('one module owns', () => {
  test('each route of the document that not every process answers', async () => {
    const document = z
      .object({ paths: z.record(z.string(), z.unknown()) })
      .parse(await (await bff.request('/openapi.json')).json())
    const paths = Object.keys(document.paths)
    expect(paths.length).toBeGreaterThan(20)
    for (const path of paths) {
      const expected = everywhere.some((route) => under(path, route)) ? 0 : 1
      expect([path, ownersOfRoute(path).length]).toEqual([path, expected])
    }
    expect(logged).toEqual([])
  })

  test('each mutation of the schema, and there is no other', () => {
    const owned = Object.values(owners).flatMap(({ mutations }) => mutations)
    expect(owned.toSorted()).toEqual(Object.keys(schema.getMutationType()?.getFields() ?? {}).toSorted())
  })
})
