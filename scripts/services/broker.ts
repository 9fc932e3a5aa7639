import { cpSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { archiveFlags, findKafka, formattedStorage, type Kafka, type Properties } from './kafka.ts'
import { brokerIsReady } from './metadata-request.ts'
import { serviceFolder } from './paths.ts'
import type { Job, Server, Service } from './service.ts'
import { brokerSettings } from './settings.ts'

// A broker that was killed is let back in when its session has run out, so the sessions are short.
export const plainProperties: Properties = (folder, port, controllerPort) => `\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:${controllerPort}
listeners=PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}
advertised.listeners=PLAINTEXT://127.0.0.1:${port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=${join(folder, 'data')}
auto.create.topics.enable=false
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=1000
default.replication.factor=${brokerSettings.replication}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=${brokerSettings.minimumSessionTimeoutMs}
`

const copyTemplate = async (kafka: Kafka, data: string, job: Job) => {
  const template = await formattedStorage(kafka, plainProperties, job)
  rmSync(`${data}.partial`, { recursive: true, force: true })
  cpSync(template, `${data}.partial`, { recursive: true })
  renameSync(`${data}.partial`, data)
}

/** A broker with these settings; `layOut` makes its data, in the folder `data` beside the file of the settings. */
export const prepareBroker =
  (properties: Properties, layOut: (kafka: Kafka, data: string, job: Job, file: string) => Promise<void>) =>
  async (job: Job): Promise<Server> => {
    const kafka = await findKafka(job)
    const folder = serviceFolder(job.profile, 'broker')
    const data = join(folder, 'data')
    mkdirSync(folder, { recursive: true })
    const file = join(folder, 'server.properties')
    writeFileSync(file, properties(folder, job.ports['broker'] ?? 0, job.ports['controller'] ?? 0))
    if (!existsSync(data)) await layOut(kafka, data, job, file)
    const archive = await archiveFlags(kafka, plainProperties, job)
    return {
      command: kafka.java.command,
      args: [...kafka.flags, ...archive, `-XX:ErrorFile=${folder}/java-%p.log`, 'kafka.Kafka', file],
      cwd: folder,
    }
  }

export const broker: Service = {
  name: 'broker',
  title: 'broker',
  variable: 'KAFKA_BROKERS',
  ports: ['broker', 'controller'],
  stopSignal: 'SIGTERM',
  composeService: 'broker',
  prepare: prepareBroker(plainProperties, copyTemplate),
  isReady: brokerIsReady,
  address: (port) => `127.0.0.1:${port}`,
  variables: (address) => ({ KAFKA_BROKERS: address, KAFKA_REPLICATION: brokerSettings.replication }),
}
