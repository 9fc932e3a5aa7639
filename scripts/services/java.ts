import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { ServiceFailure } from './failure.ts'
import { brokerSettings } from './settings.ts'

export type Java = { command: string; version: string }

const { minimumJava } = brokerSettings

const remedy = `install it (Debian: apt install openjdk-${minimumJava}-jre-headless) or set KAFKA_BROKERS to a broker that runs`

export const majorVersion = (versionText: string): number => {
  const [, major = '0', minor = '0'] = /version "(\d+)(?:\.(\d+))?/.exec(versionText) ?? []
  // Java 8 and older call themselves 1.8 and so on.
  return Number(major === '1' ? minor : major)
}

/** The Java of JAVA_HOME, else of the PATH, when it is recent enough. */
export const findJava = (): Java => {
  const home = process.env['JAVA_HOME']
  const atHome = home ? join(home, 'bin', 'java') : undefined
  const command = atHome && existsSync(atHome) ? atHome : Bun.which('java')
  const run = command ? spawnSync(command, ['-version'], { encoding: 'utf8' }) : undefined
  if (!command || run?.status !== 0)
    throw new ServiceFailure(`Java ${minimumJava} or later is needed to run the broker without Docker: ${remedy}`)
  const version = run.stderr.trim()
  const major = majorVersion(version)
  if (major < minimumJava)
    throw new ServiceFailure(
      `Java ${minimumJava} or later is needed to run the broker without Docker, and ${command} is ${major}: ${remedy}`,
    )
  return { command, version }
}
