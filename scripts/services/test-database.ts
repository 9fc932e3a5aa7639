import { SQL } from 'bun'
import { ServiceFailure } from './failure.ts'
import { inDatabase } from './postgres-url.ts'
import type { Environment } from './service.ts'
import { moduleRoles } from './settings.ts'

const run = async (serverUrl: string, statement: string) => {
  const sql = new SQL(serverUrl, { max: 1, connectionTimeout: 10 })
  try {
    await sql.unsafe(statement)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new ServiceFailure(`The Postgres of DATABASE_URL refuses the tests a database of their own (${reason})`)
  } finally {
    await sql.close()
  }
}

export const createDatabase = (serverUrl: string, name: string) =>
  run(serverUrl, `create database "${name}" template template0 encoding 'UTF8'`)

export const dropDatabase = (serverUrl: string, name: string) =>
  run(serverUrl, `drop database if exists "${name}" with (force)`)

/** The environment with every database URL it sets pointing at this database of the same server. */
export const withDatabase = (env: Environment, name: string): Environment => {
  const variables = ['DATABASE_URL', ...moduleRoles.map((role) => `${role.toUpperCase()}_DATABASE_URL`)]
  const moved = variables.flatMap((variable) => {
    const url = env[variable]
    return url ? [[variable, inDatabase(url, name)] as const] : []
  })
  return { ...env, ...Object.fromEntries(moved) }
}
