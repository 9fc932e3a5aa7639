import { chownSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { broker, plainProperties, prepareBroker } from '../../scripts/services/broker.ts'
import { formatStorage } from '../../scripts/services/kafka.ts'
import { firstAnswer, postgres } from '../../scripts/services/postgres.ts'
import type { Account } from '../../scripts/services/process.ts'
import { redis } from '../../scripts/services/redis.ts'
import type { Service } from '../../scripts/services/service.ts'
import { openBroker } from '#platform/messaging/kafka'
import { openRedis } from '#platform/redis'
import type { Certified } from './certificates.ts'
import { silent } from './messaging.ts'

/** Lays a server's certificate and key out in its folder, for nobody but the server to read. */
const layOut = (folder: string, { cert, key }: Certified, account?: Account) => {
  const files = { cert: join(folder, 'server.crt'), key: join(folder, 'server.key') }
  writeFileSync(files.cert, cert)
  writeFileSync(files.key, key, { mode: 0o600 })
  if (account) for (const file of Object.values(files)) chownSync(file, account.uid, account.gid)
  return files
}

/** A Postgres that lets nobody in whose connection is not encrypted. */
const encryptedPostgres = (certified: Certified): Service => ({
  ...postgres,
  prepare: async (job) => {
    const server = await postgres.prepare(job)
    const data = server.args[server.args.indexOf('-D') + 1] ?? ''
    const { cert, key } = layOut(data, certified, server.account)
    const rules = join(data, 'encrypted_hba.conf')
    writeFileSync(rules, 'hostssl all all 127.0.0.1/32 scram-sha-256\n')
    const settings = ['ssl=on', `ssl_cert_file=${cert}`, `ssl_key_file=${key}`, `hba_file=${rules}`]
    return { ...server, args: [...server.args, ...settings.flatMap((setting) => ['-c', setting])] }
  },
  isReady: async (port) => (await firstAnswer(port)).includes('no encryption'),
  address: (port, secrets) => `${postgres.address(port, secrets)}?sslmode=verify-full`,
})

/** A Redis that has a TLS port and no other, and one user. */
const encryptedRedis = (certified: Certified, ca: string): Service => {
  const address = (port: number) => `rediss://bulkhead:secret@127.0.0.1:${port}`
  return {
    ...redis,
    prepare: async (job) => {
      const server = await redis.prepare(job)
      const { cert, key } = layOut(server.cwd, certified)
      const encrypted = ['--port', '0', '--tls-port', `${job.ports['redis']}`, '--tls-auth-clients', 'no']
      const shown = ['--tls-cert-file', cert, '--tls-key-file', key]
      const user = ['--user', 'bulkhead', 'on', '>secret', '~*', '&*', '+@all', '--user', 'default', 'off']
      return { ...server, args: [...server.args, ...encrypted, ...shown, ...user] }
    },
    isReady: async (port) => {
      const client = openRedis({ url: address(port), name: 'ready', log: silent, ca })
      const ready = await client.connected(1_000).then(
        () => true,
        () => false,
      )
      client.close()
      return ready
    },
    address,
  }
}

/** At the broker everybody's password is the name. */
export const principals = ['admin', 'users', 'orders', 'payments'] as const

/** The last of two lines with one name counts. The controller's listener alone lets in somebody without a name. */
const encryptedProperties = (folder: string, port: number, controllerPort: number) => `
listeners=SASL_SSL://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}
advertised.listeners=SASL_SSL://127.0.0.1:${port}
listener.security.protocol.map=SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=SASL_SSL
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_admin="admin";
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="admin" password="admin";
ssl.keystore.type=PEM
ssl.keystore.location=${folder}/server.pem
ssl.truststore.type=PEM
ssl.truststore.location=${folder}/authority.crt
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:admin;User:ANONYMOUS
`

const scramUsers = ['SCRAM-SHA-256', 'SCRAM-SHA-512'].flatMap((mechanism) =>
  principals.flatMap((name) => ['--add-scram', `${mechanism}=[name=${name},password=${name}]`]),
)

/** A broker that asks everybody for a name, and lets a name do what it was granted. */
const encryptedBroker = (certified: Certified, ca: string): Service => ({
  ...broker,
  prepare: prepareBroker(
    (folder, port, controllerPort) => {
      writeFileSync(join(folder, 'server.pem'), certified.key + certified.cert, { mode: 0o600 })
      writeFileSync(join(folder, 'authority.crt'), ca)
      return plainProperties(folder, port, controllerPort) + encryptedProperties(folder, port, controllerPort)
    },
    (kafka, _, job, file) => formatStorage(kafka, file, job, scramUsers),
  ),
  isReady: (port) =>
    openBroker({ brokers: [`127.0.0.1:${port}`], clientId: 'ready', log: silent, ssl: true, ca, sasl: admin })
      .partitions([])
      .then(
        () => true,
        () => false,
      ),
})

const admin = { mechanism: 'scram-sha-512', username: 'admin', password: 'admin' } as const

/** The services as an operator would run them who trusts no network: what they show is certified by `ca`. */
export const encryptedServices = (certified: Certified, ca: string) => ({
  postgres: encryptedPostgres(certified),
  redis: encryptedRedis(certified, ca),
  broker: encryptedBroker(certified, ca),
})
