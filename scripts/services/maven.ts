import { spawn } from 'node:child_process'
import { createWriteStream, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { interrupted, ServiceFailure } from './failure.ts'
import { withLock } from './lock.ts'
import { nativeFolder } from './paths.ts'
import type { Job } from './service.ts'
import { mavenPlugin } from './settings.ts'

const pom = join(import.meta.dir, 'kafka-pom.xml')
const log = join(nativeFolder, 'maven.log')

type Fetch = {
  /** Folder below `.bulkhead/native` that appears when everything is in it, and never before. */
  into: string
  title: string
  /** A goal of Maven's dependency plugin, and its settings. */
  goal: [string, ...string[]]
  /** How the reader does without: completes "or set". */
  instead: string
}

const runMaven = (maven: string, args: string[], title: string, job: Job): Promise<string | undefined> =>
  new Promise((resolve, reject) => {
    const output = createWriteStream(log, { flags: 'w' })
    const child = spawn(maven, ['-B', '-f', pom, ...args], { stdio: ['ignore', 'pipe', 'pipe'], signal: job.signal })
    let files = 0
    let firstError: string | undefined
    const read = (line: string) => {
      output.write(`${line}\n`)
      const file = /Downloaded from .*\/([^/ ]+\.jar) \(([^)]*)\)/.exec(line)
      if (file) job.progress(`${title}: ${++files} fetched, ${file[1]} (${file[2]})`)
      firstError ??= /\[[^\]]*ERROR[^\]]*\] (.+)/.exec(line)?.[1]
    }
    createInterface(child.stdout).on('line', read)
    createInterface(child.stderr).on('line', read)
    child.on('error', (error) => reject(job.signal.aborted ? interrupted() : error))
    child.on('close', (code) => {
      output.end()
      resolve(code === 0 ? undefined : (firstError ?? `it ended with code ${code}`))
    })
  })

/** Fetches files by Maven, once for this clone. Returns the folder that holds them. */
export const fetchByMaven = async (fetch: Fetch, job: Job): Promise<string> => {
  const folder = join(nativeFolder, fetch.into)
  if (existsSync(folder)) return folder
  const maven = Bun.which('mvn')
  if (!maven)
    throw new ServiceFailure(
      `Maven is needed to fetch ${fetch.title} without Docker: install it (Debian: apt install maven) or set ${fetch.instead}`,
    )
  // Maven does not expect two of itself to fill one local repository.
  return withLock(
    'maven',
    async () => {
      if (existsSync(folder)) return folder
      job.progress(`${fetch.title}: fetching by Maven, once`)
      const partial = `${folder}.partial`
      rmSync(partial, { recursive: true, force: true })
      mkdirSync(partial, { recursive: true })
      const [goal, ...settings] = fetch.goal
      const args = [`${mavenPlugin}:${goal}`, ...settings, `-DoutputDirectory=${partial}`]
      const failure = await runMaven(maven, args, fetch.title, job)
      if (failure !== undefined)
        throw new ServiceFailure(
          `Maven could not fetch ${fetch.title} (${failure}); its log: ${log}; or set ${fetch.instead}`,
        )
      renameSync(partial, folder)
      return folder
    },
    { signal: job.signal },
  )
}
