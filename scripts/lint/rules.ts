/** Where a file lives; also what an import can reach. `own` is a file of the importer's own module. */
export type PlaceName =
  | 'platform'
  | 'events'
  | 'index'
  | 'module'
  | 'bff'
  | 'app'
  | 'main'
  | 'config'
  | 'frame'
  | 'test'
  | 'scripts'
  | 'db'
  | 'root'

/** A row of the import table. Closed by default: what `may` does not name is refused under `rule`. */
export type Place = {
  name: PlaceName
  files: string[]
  may: readonly (PlaceName | 'own')[]
  /** The only packages of this place; without it, every package that is at home here. */
  packages?: string[]
  builtins?: false
  rule: string
  way: string
}

const everything = [
  'platform',
  'events',
  'index',
  'bff',
  'app',
  'main',
  'config',
  'frame',
  'test',
  'scripts',
  'db',
  'root',
] as const

const module = {
  may: ['platform', 'own', 'events'],
  packages: ['drizzle-orm', 'zod'],
  builtins: false,
  rule: 'module-door',
  way: 'a module reaches its own files, `#platform/*` and the `#events/<name>` of another module',
} as const

/** The first row whose glob matches a path is its place. */
export const places: Place[] = [
  {
    name: 'test',
    files: ['src/test/**'],
    may: everything,
    rule: 'module-door',
    way: 'src/test enters a module by its doors',
  },
  {
    name: 'platform',
    files: ['src/platform/**'],
    may: ['platform'],
    rule: 'platform-knows-no-module',
    way: 'src/platform imports src/platform only; what it must know of a module or of the frame is handed to it',
  },
  {
    name: 'bff',
    files: ['src/bff/**'],
    may: ['platform', 'bff', 'index', 'root'],
    rule: 'bff-enters-by-index',
    way: 'src/bff reaches src/bff, src/platform and the `#modules/<name>` of a module; src/app.ts hands it the rest',
  },
  {
    name: 'app',
    files: ['src/app.ts', 'src/app*.test.ts'],
    may: ['app', 'platform', 'events', 'index', 'bff', 'config', 'frame', 'root'],
    rule: 'app-composes',
    way: 'src/app.ts reaches platform, bff, config, `#modules/*` and `#events/*`',
  },
  {
    name: 'main',
    files: ['src/main.ts', 'src/main*.test.ts', 'src/trial.ts'],
    may: ['main', 'app', 'config', 'platform', 'frame', 'root'],
    rule: 'main-starts-app',
    way: 'src/main.ts and src/trial.ts reach app, config and platform; composing is the work of src/app.ts',
  },
  {
    name: 'config',
    files: ['src/config.ts', 'src/config*.test.ts'],
    may: ['config', 'platform'],
    packages: ['zod'],
    rule: 'config-stands-alone',
    way: 'src/config.ts reaches platform and zod',
  },
  {
    name: 'frame',
    files: ['src/*'],
    may: ['frame', 'config', 'platform', 'root'],
    rule: 'frame-composes-nothing',
    way: 'a file beside src/app.ts reaches config and platform; composing is the work of src/app.ts',
  },
  {
    name: 'events',
    files: ['modules/*/events.ts'],
    may: ['platform', 'events'],
    packages: ['zod'],
    builtins: false,
    rule: 'light-door',
    way: 'events.ts reaches `#platform/*`, zod and the `#events/<name>` of other modules, so that whoever enters by it loads nothing else',
  },
  { name: 'index', files: ['modules/*/index.ts'], ...module, packages: [...module.packages] },
  { name: 'module', files: ['modules/*/**'], ...module, packages: [...module.packages] },
  {
    name: 'scripts',
    files: ['scripts/**'],
    may: everything,
    rule: 'module-door',
    way: 'scripts enter a module by its doors',
  },
]

/** Reached only by the places that name them; they are told apart because the mistake is another one. */
export const reserved: Partial<Record<PlaceName, { rule: string; way: string }>> = {
  scripts: { rule: 'scripts-serve-nobody', way: 'only scripts, src/test and test files import scripts' },
  test: { rule: 'tests-serve-tests', way: 'only scripts, src/test and test files import src/test' },
}

/** What a test file may reach besides what its place allows. Other modules stay closed to it. */
export const forTests = { may: ['test', 'scripts'], packages: ['fast-check'] } as const

/** A package, or a pattern of specifiers, and the only files that may import it. */
export type Home = { rule: string; packages: string[]; homes: string[]; way: string }

const whole = ['src/test/**', 'scripts/bench/**']

/** `x` covers `x` and what lies below it, `x*` every specifier that starts so. The first row that matches decides. */
export const homes: Home[] = [
  {
    rule: 'postgres-home',
    packages: ['postgres', 'pg'],
    homes: ['src/platform/postgres.ts', 'src/platform/postgres*.test.ts', ...whole],
    way: 'only src/platform/postgres.ts may import it: take a handle from #platform/postgres',
  },
  {
    rule: 'kafka-home',
    packages: ['kafkajs', '@platformatic/kafka', '@confluentinc/*'],
    homes: [
      'src/platform/messaging/kafka.ts',
      'src/platform/messaging/kafka-admin.ts',
      'src/platform/messaging/kafka*.test.ts',
      ...whole,
    ],
    way: 'only src/platform/messaging/kafka.ts and kafka-admin.ts may import it: use #platform/messaging/kafka, and from a module `emit`',
  },
  {
    rule: 'redis-home',
    packages: ['ioredis', 'redis'],
    homes: ['src/platform/redis.ts', 'src/platform/redis*.test.ts', ...whole],
    way: 'only src/platform/redis.ts may import it: use #platform/redis or #platform/snapshots',
  },
  {
    rule: 'bff-is-the-only-http',
    packages: ['hono', '@hono/*', 'graphql*', '@graphql*', '@envelop/*', '@pothos/*', 'swagger-ui-dist'],
    homes: ['src/bff/**', ...whole],
    way: 'only src/bff knows HTTP and GraphQL: offer a command or a query to it in index.ts',
  },
  {
    rule: 'drizzle-home',
    packages: ['drizzle-orm/pg-core', 'drizzle-orm/sql'],
    homes: ['src/platform/**', 'modules/**', 'scripts/**', ...whole],
    way: 'SQL is for src/platform and the modules: offer a query in index.ts of the module',
  },
  {
    rule: 'drizzle-driver-home',
    packages: ['drizzle-orm/*'],
    homes: ['src/platform/**', ...whole],
    way: 'only src/platform connects Drizzle to a driver: import `drizzle-orm` or `drizzle-orm/pg-core`',
  },
  {
    rule: 'drizzle-home',
    packages: ['drizzle-orm'],
    homes: ['src/platform/**', 'modules/**', 'scripts/**', ...whole],
    way: 'SQL is for src/platform and the modules: offer a query in index.ts of the module',
  },
  {
    rule: 'log-home',
    packages: ['pino'],
    homes: ['src/platform/**', ...whole],
    way: 'only src/platform writes logs with it: take a `Log` from #platform/log',
  },
  {
    rule: 'mechanism-home',
    packages: ['jose', 'pino-pretty', 'prom-client', 'cockatiel'],
    homes: ['src/platform/**', 'src/bff/**', ...whole],
    way: 'mechanisms live in src/platform or src/bff: a module gets what they do through its context',
  },
  {
    rule: 'tracing-home',
    packages: ['@opentelemetry/*'],
    homes: ['src/platform/tracing-export.ts', ...whole],
    way: 'only src/platform/tracing-export.ts may import it: begin spans by #platform/tracing',
  },
  {
    rule: 'tests-only',
    packages: ['bun:test'],
    homes: ['**/*.test.ts', '**/*.test.tsx', 'src/test/**', 'scripts/**'],
    way: 'only test files, src/test and scripts may import it',
  },
  {
    rule: 'no-loader',
    packages: ['node:module', 'module'],
    homes: ['scripts/**'],
    way: 'a loader or `createRequire` imports past every rule: import by name',
  },
]
