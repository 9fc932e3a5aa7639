import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ServiceFailure } from './failure.ts'
import { profileFolder } from './paths.ts'
import type { Ports, Secrets } from './service.ts'

/** What a profile remembers from one start to the next. Which process runs is in each service's pid file. */
export type State = {
  secrets: Secrets
  ports: Ports
  /** The services that containers run; every other one runs natively. */
  containers: string[]
  /** Whether the volumes of this profile's containers were made with these secrets. */
  volumes: boolean
}

const stateFile = (profile: string) => join(profileFolder(profile), 'state.json')

const isState = (value: unknown): value is State =>
  typeof value === 'object' && value !== null && 'secrets' in value && 'ports' in value && 'containers' in value

export const readState = (profile: string): State | undefined => {
  const file = stateFile(profile)
  if (!existsSync(file)) return undefined
  const state: unknown = JSON.parse(readFileSync(file, 'utf8'))
  if (!isState(state))
    throw new ServiceFailure(`${file} is not a state of the services; remove ${profileFolder(profile)}`)
  return state
}

/** Replaces a file whole: a reader, or a crash, finds the old text or the new, never half of one. */
export const writeWhole = (file: string, text: string) => {
  writeFileSync(`${file}.new`, text, { mode: 0o600 })
  renameSync(`${file}.new`, file)
}

export const writeState = (profile: string, state: State) => {
  mkdirSync(profileFolder(profile), { recursive: true })
  writeWhole(stateFile(profile), `${JSON.stringify(state, null, 2)}\n`)
}

const madeUp = (bytes: number) => randomBytes(bytes).toString('base64url')

export const newState = (): State => ({
  secrets: { postgres: madeUp(24), jwt: madeUp(48), operator: madeUp(12) },
  ports: {},
  containers: [],
  volumes: false,
})
