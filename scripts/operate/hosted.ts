import { createApp } from '../../src/app.ts'
import { parseConfig } from '../../src/config.ts'
import { StartError, DomainError, UnavailableError } from '#platform/errors'
import { createLog } from '#platform/log'
import { ServiceFailure, developmentEnvironment } from '../services/index.ts'

type App = ReturnType<typeof createApp>

export type Hosted = App['hosted']

/** The module of this name, or all without one. @throws StartError naming those there are */
export const modulesNamed = (hosted: Hosted, given: string | undefined) => {
  const found = Object.values(hosted).filter(({ name }) => given === undefined || name === given)
  if (found.length > 0) return found
  throw new StartError(`There is no module ${given} here: the modules are ${Object.keys(hosted).join(', ')}.`)
}

/** Runs an operator's command on the modules of `MODULES`, wired as in the process but neither serving nor consuming, and exits. */
export const operate = async (command: (hosted: Hosted, app: App) => Promise<void>): Promise<never> => {
  try {
    const environment = await developmentEnvironment()
    const app = createApp(parseConfig(environment), createLog({ level: 'error', readable: true }))
    try {
      await app.connected()
      await command(app.hosted, app)
    } finally {
      await app.stop()
    }
    process.exit(0)
  } catch (error) {
    const expected = [StartError, DomainError, UnavailableError, ServiceFailure].some((kind) => error instanceof kind)
    console.error(expected && error instanceof Error ? error.message : error)
    process.exit(1)
  }
}
