import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { interrupted, ServiceFailure } from './failure.ts'
import { cloneHash, root } from './paths.ts'
import type { Ports, Progress, Secrets } from './service.ts'
import { composeVariables } from './settings.ts'

const answerLimitMs = 3000

const succeeds = (args: string[]): Promise<boolean> =>
  new Promise((resolve) => {
    const child = spawn('docker', args, { stdio: 'ignore', timeout: answerLimitMs })
    child.on('error', () => resolve(false))
    child.on('close', (code) => resolve(code === 0))
  })

/** Whether an engine answers and knows `compose`: the client alone is often installed without either. */
export const dockerAnswers = async (): Promise<boolean> => {
  // The PATH as it is now: without it Bun looks where the process began.
  if (!Bun.which('docker', { PATH: process.env['PATH'] ?? '' })) return false
  const [engine, compose] = await Promise.all([succeeds(['info']), succeeds(['compose', 'version'])])
  return engine && compose
}

export type Composition = { profile: string; ports: Ports; secrets: Secrets; progress: Progress; signal?: AbortSignal }

/** One project per clone and profile, so that their containers and volumes are their own. */
export const projectName = (profile: string) => `bulkhead-${cloneHash}-${profile}`

/** What compose.yaml fills in; a port that is not ours to choose keeps the file's default. */
export const composeEnvironment = (ports: Ports, secrets: Secrets): Record<string, string> => {
  const environment: Record<string, string> = { [composeVariables.postgresPassword]: secrets.postgres }
  const set = (variable: string, port?: number) => {
    if (port !== undefined) environment[variable] = String(port)
  }
  set(composeVariables.postgresPort, ports['postgres'])
  set(composeVariables.brokerPort, ports['broker'])
  set(composeVariables.consolePort, ports['console'])
  set(composeVariables.redisPort, ports['redis'])
  return environment
}

const compose = (composition: Composition, args: string[]): Promise<void> =>
  new Promise((resolve, reject) => {
    const { profile, ports, secrets, progress, signal } = composition
    const files = ['compose', '-f', join(root, 'compose.yaml'), '-p', projectName(profile)]
    const child = spawn('docker', [...files, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...composeEnvironment(ports, secrets) },
      ...(signal ? { signal } : {}),
    })
    let last = ''
    const read = (chunk: Buffer) => {
      for (const line of chunk
        .toString()
        .split('\n')
        .map((text) => text.trim())) {
        if (line && line !== last) progress(`docker: ${(last = line)}`)
      }
    }
    child.stdout.on('data', read)
    child.stderr.on('data', read)
    child.on('error', (error) => reject(signal?.aborted ? interrupted() : error))
    child.on('close', (code) => {
      if (code === 0) resolve()
      else
        reject(
          new ServiceFailure(
            `docker compose ${args[0]} failed (${last}); put it right, or stop the Docker engine to run without`,
          ),
        )
    })
  })

/** Starts these services and waits for their health checks; the console comes along with the broker of `dev`. */
export const composeUp = async (composition: Composition, services: string[]): Promise<void> => {
  await compose(composition, ['up', '--detach', '--wait', ...services])
  // Nothing depends on the console, so a console that is not well does not hold anything up.
  if (composition.ports['console'] !== undefined) await compose(composition, ['up', '--detach', 'console'])
}

/** Removes the containers. The data stays in its volumes, unless it is to go as well. */
export const composeDown = (composition: Composition, { data }: { data: 'keep' | 'delete' }): Promise<void> =>
  compose(composition, ['down', '--remove-orphans', ...(data === 'delete' ? ['--volumes'] : [])])
