import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { provider } from '../../scripts/services/provider.ts'
import { type Environment, moduleNames } from '../config.ts'
import { certify, createAuthority } from './certificates.ts'
import { encryptedServices } from './encrypted-services.ts'
import { ownServer } from './own-server.ts'

const settings = {
  KAFKA_SSL: 'true',
  KAFKA_SASL_MECHANISM: 'scram-sha-512',
  KAFKA_SESSION_TIMEOUT_MS: '2000',
  JWT_KEYS: 'test:T9sWqv2LrX7pKd4nYbFh8mZc3jGt6uEa',
  OPERATOR_EMAIL: 'operator@example.com',
  OPERATOR_PASSWORD: 'correct horse',
}

/** Each module by its own name at the broker. */
const byModules: Environment = Object.fromEntries(
  moduleNames.flatMap((name) => [
    [`${name.toUpperCase()}_KAFKA_SASL_USERNAME`, name],
    [`${name.toUpperCase()}_KAFKA_SASL_PASSWORD`, name],
  ]),
)

/** Encrypted services of a test's own, an authority that certifies them, and one with the same name that does not. */
export const startEncryptedSystem = async () => {
  const [authority, impostor] = await Promise.all([createAuthority(), createAuthority()])
  const services = encryptedServices(await certify(authority, ['127.0.0.1']), authority.cert)
  const start = (service: typeof provider) => ownServer(service, 'encrypted')
  const [postgres, redis, broker, sandbox] = await Promise.all([
    start(services.postgres),
    start(services.redis),
    start(services.broker),
    start(provider),
  ])
  const folder = mkdtempSync(join(tmpdir(), 'bulkhead-encrypted-'))
  const files = { authority: join(folder, 'authority.crt'), impostor: join(folder, 'impostor.crt') }
  writeFileSync(files.authority, authority.cert)
  writeFileSync(files.impostor, impostor.cert)
  const environment: Environment = {
    ...services.postgres.variables(postgres.url),
    ...services.redis.variables(redis.url),
    ...services.broker.variables(broker.url),
    ...provider.variables(sandbox.url),
    ...settings,
    ...byModules,
    TLS_CA_FILE: files.authority,
  }
  return {
    postgres,
    redis,
    /** What the process is given. */
    environment,
    /** What `migrate` is given: the name of somebody who may give rights. */
    migrating: { ...environment, KAFKA_SASL_USERNAME: 'admin', KAFKA_SASL_PASSWORD: 'admin' },
    ca: authority.cert,
    impostor: { ca: impostor.cert, file: files.impostor },
    remove: async () => {
      rmSync(folder, { recursive: true, force: true })
      await postgres.remove()
    },
  }
}
