import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ServiceFailure } from './failure.ts'
import { fetchByMaven } from './maven.ts'
import { nativeFolder, serviceFolder } from './paths.ts'
import { exchange } from './port.ts'
import type { Job, Server, Service } from './service.ts'
import { redisSettings } from './settings.ts'
import { readFromZip } from './zip.ts'

const instead = 'REDIS_URL to a Redis that runs'

export const isRecentEnough = (versionText: string): boolean => {
  const [, major = 0, minor = 0] = (/v=(\d+)\.(\d+)/.exec(versionText) ?? []).map(Number)
  const [wantedMajor = 0, wantedMinor = 0] = redisSettings.version.split('.').map(Number)
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)
}

const onPath = (): string | undefined => {
  for (const name of ['redis-server', 'valkey-server']) {
    const command = Bun.which(name)
    const run = command ? spawnSync(command, ['--version'], { encoding: 'utf8' }) : undefined
    if (command && run?.status === 0 && isRecentEnough(run.stdout)) return command
  }
  return undefined
}

const fromMaven = async (job: Job): Promise<string> => {
  const [, artifact = '', version = ''] = redisSettings.mavenArtifact.split(':')
  const command = join(nativeFolder, `redis-server-${version}`)
  if (existsSync(command)) return command
  const folder = await fetchByMaven(
    {
      into: `${artifact}-${version}`,
      title: 'Redis',
      goal: ['copy', `-Dartifact=${redisSettings.mavenArtifact}`],
      instead,
    },
    job,
  )
  const architecture = process.arch === 'x64' ? 'amd64' : process.arch
  const suffix = `-${process.platform}-${architecture}`
  const jar = readdirSync(folder).find((name) => name.endsWith('.jar'))
  const binary = jar && readFromZip(readFileSync(join(folder, jar)), (name) => name.endsWith(suffix))
  if (!binary)
    throw new ServiceFailure(
      `Redis does not come for ${process.platform} on ${process.arch}: install it or set ${instead}`,
    )
  const partial = `${command}.${process.pid}`
  writeFileSync(partial, binary, { mode: 0o755 })
  renameSync(partial, command)
  return command
}

const configuration = (folder: string, port: number) => `\
bind 127.0.0.1
port ${port}
dir ${JSON.stringify(join(folder, 'data'))}
appendonly yes
appendfsync everysec
save ""
maxmemory-policy ${redisSettings.evictionPolicy}
`

const prepare = async (job: Job): Promise<Server> => {
  const command = onPath() ?? (await fromMaven(job))
  const folder = serviceFolder(job.profile, 'redis')
  mkdirSync(join(folder, 'data'), { recursive: true })
  const file = join(folder, 'redis.conf')
  writeFileSync(file, configuration(folder, job.ports['redis'] ?? 0))
  return { command, args: [file], cwd: folder }
}

export const redis: Service = {
  name: 'redis',
  title: 'Redis',
  variable: 'REDIS_URL',
  ports: ['redis'],
  stopSignal: 'SIGTERM',
  composeService: 'redis',
  prepare,
  isReady: async (port) => (await exchange(port, Buffer.from('PING\r\n')))?.toString().startsWith('+PONG') ?? false,
  address: (port) => `redis://127.0.0.1:${port}`,
  variables: (address) => ({ REDIS_URL: address }),
}
