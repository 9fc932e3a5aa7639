import { GraphQLID, GraphQLNonNull, GraphQLObjectType, GraphQLSchema, GraphQLString, execute, parse } from 'graphql'
import { Hono } from 'hono'
import { Redis } from 'ioredis'

// The limit of the snapshot and graphql scenarios, a process of its own: a route, a Redis read, and nothing else.

const redis = new Redis(process.env['REDIS_URL'] ?? '', { enableAutoPipelining: true })

const read = (id: string) => redis.get(`users:user:${id}`)

const User = new GraphQLObjectType({
  name: 'User',
  fields: {
    id: { type: new GraphQLNonNull(GraphQLID) },
    name: { type: GraphQLString },
    email: { type: GraphQLString },
  },
})

const Query = new GraphQLObjectType<unknown, { id: string }>({
  name: 'Query',
  fields: { me: { type: User, resolve: async (_, __, { id }) => JSON.parse((await read(id)) ?? 'null') } },
})

const schema = new GraphQLSchema({ query: Query })
const document = parse('{ me { id name email } }')

const app = new Hono()
  .get('/users/:id', async (c) =>
    c.body((await read(c.req.param('id'))) ?? '', 200, { 'content-type': 'application/json' }),
  )
  .post('/graphql/:id', async (c) => {
    await c.req.json()
    return c.json(await execute({ schema, document, contextValue: { id: c.req.param('id') } }))
  })

Bun.serve({ port: Number(process.env['PORT']), hostname: '127.0.0.1', fetch: app.fetch })
