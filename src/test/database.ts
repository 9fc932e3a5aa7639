import { createDatabase, dropDatabase, withDatabase } from '../../scripts/services/test-database.ts'
import { migrateModule } from '#platform/migrations'
import { openPostgres } from '#platform/postgres'
import { testServices } from './services.ts'

/** A database of its own on the run's Postgres, empty; the URLs sign in as the owner and as each module. */
export const testDatabase = async () => {
  const services = await testServices()
  const name = `bulkhead_${Bun.randomUUIDv7().replaceAll('-', '')}`
  await createDatabase(services.DATABASE_URL, name)
  const urls = withDatabase(services, name)
  return {
    services,
    /** The run's services, with this database in the place of their own. */
    environment: urls,
    ownerUrl: urls['DATABASE_URL'] ?? '',
    moduleUrl: (module: string) => urls[`${module.toUpperCase()}_DATABASE_URL`] ?? '',
    drop: () => dropDatabase(services.DATABASE_URL, name),
  }
}

/** The schema of the module orders in a database of its own, with `tables` made in it. */
export const testSchema = async (tables = '') => {
  const database = await testDatabase()
  const moduleUrl = database.moduleUrl('orders')
  await migrateModule({ module: 'orders', ownerUrl: database.ownerUrl, moduleUrl, report: () => undefined })
  const owner = openPostgres({ url: database.ownerUrl, name: 'test-owner', poolSize: 2 })
  await owner.script(`set search_path = orders; ${tables}; reset search_path`)
  const opened = [owner]
  const open = (poolSize = 8) => {
    const postgres = openPostgres({ url: moduleUrl, name: 'test', poolSize })
    opened.push(postgres)
    return postgres
  }
  return {
    ...database,
    url: moduleUrl,
    owner,
    /** Opens a pool that signs in as the module. */
    open,
    postgres: open(),
    close: async () => {
      await Promise.all(opened.map((postgres) => postgres.close(1_000)))
      await database.drop()
    },
  }
}

export type TestSchema = Awaited<ReturnType<typeof testSchema>>
