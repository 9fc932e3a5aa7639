import { join } from 'node:path'
import { exchange } from './port.ts'
import { layOutPostgres, postgresVariables } from './postgres-data.ts'
import { postgresHome } from './postgres-home.ts'
import { moduleUrl } from './postgres-url.ts'
import type { Job, Server, Service } from './service.ts'
import { postgresSettings } from './settings.ts'

const { user, database } = postgresSettings

const prepare = async (job: Job): Promise<Server> => {
  const home = await postgresHome(job)
  const data = await layOutPostgres(home, job)
  const settings = [
    `port=${job.ports['postgres'] ?? 0}`,
    'listen_addresses=127.0.0.1',
    'unix_socket_directories=',
    `max_connections=${postgresSettings.maxConnections}`,
    'fsync=on',
  ]
  return {
    command: join(home.programs, 'bin', 'postgres'),
    args: ['-D', data, ...settings.flatMap((setting) => ['-c', setting])],
    cwd: '/',
    env: postgresVariables,
    ...(home.account ? { account: home.account } : {}),
  }
}

/** What it answers to a client that begins to sign in, in plain text. */
export const firstAnswer = async (port: number): Promise<string> => {
  const parameters = Buffer.from(`user\0${user}\0database\0${database}\0\0`)
  const startup = Buffer.alloc(8)
  startup.writeInt32BE(8 + parameters.length, 0)
  startup.writeInt32BE(3 << 16, 4)
  return (await exchange(port, Buffer.concat([startup, parameters])))?.toString('latin1') ?? ''
}

/** Whether it asks for the password: while it starts or recovers, it answers with an error instead. */
const isReady = async (port: number): Promise<boolean> => (await firstAnswer(port)).startsWith('R')

export const postgres: Service = {
  name: 'postgres',
  title: 'Postgres',
  variable: 'DATABASE_URL',
  ports: ['postgres'],
  // The fast shutdown: ends the sessions, writes everything down.
  stopSignal: 'SIGINT',
  composeService: 'postgres',
  prepare,
  isReady,
  address: (port, secrets) => `postgres://${user}:${secrets.postgres}@127.0.0.1:${port}/${database}`,
  variables: (address) => ({
    DATABASE_URL: address,
    USERS_DATABASE_URL: moduleUrl(address, 'users'),
    ORDERS_DATABASE_URL: moduleUrl(address, 'orders'),
    PAYMENTS_DATABASE_URL: moduleUrl(address, 'payments'),
  }),
}
