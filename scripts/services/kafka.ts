import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  closeSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { interrupted, ServiceFailure } from './failure.ts'
import { findJava, type Java } from './java.ts'
import { withLock } from './lock.ts'
import { fetchByMaven } from './maven.ts'
import { brokerIsReady } from './metadata-request.ts'
import { nativeFolder } from './paths.ts'
import { freePort } from './port.ts'
import type { Job } from './service.ts'
import { brokerSettings } from './settings.ts'

/** A Kafka that can be run: its Java, and the flags every run of it takes. */
export type Kafka = { java: Java; flags: string[] }

export type Properties = (folder: string, port: number, controllerPort: number) => string

const { kafkaVersion } = brokerSettings
const log = join(nativeFolder, 'kafka.log')

export const findKafka = async (job: Job): Promise<Kafka> => {
  const java = findJava()
  const jars = await fetchByMaven(
    {
      into: `kafka-${kafkaVersion}`,
      title: 'the broker',
      goal: ['copy-dependencies', '-DincludeScope=runtime'],
      instead: 'KAFKA_BROKERS to a broker that runs',
    },
    job,
  )
  const classPath = readdirSync(jars)
    .toSorted()
    .map((jar) => join(jars, jar))
    .join(':')
  const flags = [
    '-Xmx256m',
    '-XX:+UseSerialGC',
    '-XX:TieredStopAtLevel=1',
    '-XX:-UsePerfData',
    '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
    '-Dorg.slf4j.simpleLogger.showDateTime=true',
    '-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS',
    '-cp',
    classPath,
  ]
  return { java, flags }
}

const runJava = (kafka: Kafka, args: string[], job: Job) => {
  const output = openSync(log, 'a')
  const child = spawn(kafka.java.command, [...kafka.flags, ...args], {
    stdio: ['ignore', output, output],
    signal: job.signal,
  })
  closeSync(output)
  const ended = new Promise<number | null>((resolve) => {
    child.on('error', () => resolve(null))
    child.on('close', resolve)
  })
  return { child, ended }
}

/** Lays out the data of a new broker where the file of its settings says. */
export const formatStorage = async (kafka: Kafka, file: string, job: Job, options: string[] = []): Promise<void> => {
  const id = Buffer.from(crypto.randomUUID().replaceAll('-', ''), 'hex').toString('base64url')
  const args = ['kafka.tools.StorageTool', 'format', '-t', id, '-c', file, ...options]
  const code = await runJava(kafka, args, job).ended
  if (job.signal.aborted) throw interrupted()
  if (code !== 0) throw new ServiceFailure(`The broker's storage could not be formatted; its log: ${log}`)
}

/** Storage as a new broker finds it. Formatting takes a second of Java; copying what it wrote takes none. */
export const formattedStorage = (kafka: Kafka, properties: Properties, job: Job): Promise<string> =>
  withLock(
    'kafka-template',
    async () => {
      const folder = join(nativeFolder, 'templates', `kafka-${kafkaVersion}`)
      const data = join(folder, 'data')
      if (existsSync(data)) return data
      const partial = `${folder}.partial`
      rmSync(partial, { recursive: true, force: true })
      mkdirSync(partial, { recursive: true })
      const file = join(partial, 'server.properties')
      writeFileSync(file, properties(partial, 9092, 9093))
      await formatStorage(kafka, file, job)
      rmSync(folder, { recursive: true, force: true })
      renameSync(partial, folder)
      return data
    },
    { signal: job.signal },
  )

/**
 * Makes later starts take half the time: a broker is run once to let Java write down the classes it loads. An archive
 * fits one Java and one class path, so its name holds both. Without one the broker starts all the same, slower.
 */
export const archiveFlags = (kafka: Kafka, properties: Properties, job: Job): Promise<string[]> =>
  withLock(
    'kafka-archive',
    async () => {
      const key = createHash('sha256')
        .update([kafka.java.version, ...kafka.flags].join('\n'))
        .digest('hex')
      const archive = join(nativeFolder, `kafka-${kafkaVersion}-${key.slice(0, 12)}.jsa`)
      const use = [`-XX:SharedArchiveFile=${archive}`, '-Xshare:auto']
      if (existsSync(archive)) return use
      job.progress('broker: running it once to make later starts fast')
      const template = await formattedStorage(kafka, properties, job)
      const folder = join(nativeFolder, 'kafka-training')
      rmSync(folder, { recursive: true, force: true })
      cpSync(template, join(folder, 'data'), { recursive: true })
      const port = await freePort()
      const file = join(folder, 'server.properties')
      writeFileSync(file, properties(folder, port, await freePort([port])))
      const partial = join(folder, 'classes.jsa')
      const { child, ended } = runJava(kafka, [`-XX:ArchiveClassesAtExit=${partial}`, 'kafka.Kafka', file], job)
      const deadline = Date.now() + 60_000
      while (child.exitCode === null && Date.now() < deadline && !job.signal.aborted && !(await brokerIsReady(port)))
        await Bun.sleep(50)
      child.kill('SIGTERM')
      const killer = setTimeout(() => child.kill('SIGKILL'), 30_000)
      await ended
      clearTimeout(killer)
      if (job.signal.aborted) throw interrupted()
      const made = existsSync(partial)
      if (made) renameSync(partial, archive)
      rmSync(folder, { recursive: true, force: true })
      return made ? use : []
    },
    { signal: job.signal },
  )
