import { type Bench, type Scenario, alternate } from './scenario.ts'
import { type SignedIn, signIn, spawnBare, spawnOurs } from './server.ts'
import { type Load, wrk, wrkTool } from './wrk.ts'

type Side = Omit<Load, 'url'> & { path: string }

type Measured = { figures: number[]; limits: number[] }

/** Loads the real process and the bare one in turn; each is idle while the other is measured. */
const measure = async (bench: Bench, sides: (user: SignedIn) => { ours: Side; bare: Side }): Promise<Measured> => {
  const servers = await Promise.all([spawnOurs(bench), spawnBare(bench)])
  try {
    const { ours, bare } = sides(await signIn(servers[0]))
    const loads = {
      limit: { ...bare, url: servers[1].url + bare.path },
      figure: { ...ours, url: servers[0].url + ours.path },
    }
    await compare(loads.limit, loads.figure)
    const warmUp = bench.quick ? 1 : 8
    await wrk(loads.limit, warmUp)
    await wrk(loads.figure, warmUp)
    const measured = await alternate(bench, {
      limit: () => wrk(loads.limit, bench.seconds),
      figure: () => wrk(loads.figure, bench.seconds),
    })
    return { figures: measured.figure, limits: measured.limit }
  } finally {
    await Promise.all(servers.map((server) => server.stop()))
  }
}

/** Both must answer the same, or the comparison would be of two things. */
const compare = async (...loads: Load[]): Promise<void> => {
  const answers = await Promise.all(
    loads.map(async ({ url, method, token, body }) => {
      const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
      const response = await fetch(url, { method, headers, ...(body === undefined ? {} : { body }) })
      return `${response.status} ${await response.text()}`
    }),
  )
  if (new Set(answers).size !== 1) throw new Error(`The two sides do not answer the same: ${answers.join(' and ')}`)
}

export const snapshot: Scenario = {
  name: 'snapshot',
  needs: [wrkTool],
  run: async (bench) => {
    const measured = await measure(bench, ({ userId, token }) => {
      const side = { method: 'GET', path: `/users/${userId}`, token } as const
      return { ours: side, bare: side }
    })
    return [
      {
        scenario: 'snapshot',
        figure: 'GET /users/:id of the real process, signed in, wrk -t1 -c64',
        unit: 'requests/s',
        limit: 'a bare Hono process that reads the same key with auto-pipelining',
        target: { atLeast: 0.7 },
        ...measured,
      },
    ]
  },
}

export const graphql: Scenario = {
  name: 'graphql',
  needs: [wrkTool],
  run: async (bench) => {
    const body = JSON.stringify({ query: '{ me { id name email } }' })
    const measured = await measure(bench, ({ userId, token }) => {
      const side = { method: 'POST', token, body } as const
      return { ours: { ...side, path: '/graphql' }, bare: { ...side, path: `/graphql/${userId}` } }
    })
    return [
      {
        scenario: 'graphql',
        figure: '{ me { id name email } } of the real process, signed in, wrk -t1 -c64',
        unit: 'requests/s',
        limit: 'a bare Hono process with execute of the parsed document and the same Redis read',
        target: { atLeast: 0.6 },
        ...measured,
      },
    ]
  },
}
