import { services } from './list.ts'
import { type Environment, environmentVariables, type ServiceEnvironment } from './service.ts'
import { operatorEmail } from './settings.ts'
import type { State } from './state.ts'

const portOf = (state: State, name: string) => state.ports[name] ?? 0

/** Where a service is reached: where the environment says, else where this profile runs it. */
export const addressOf = (service: (typeof services)[number], state: State, env: Environment): string =>
  env[service.variable] || service.address(portOf(state, service.ports[0]), state.secrets)

/** The variables that reach the services. What the environment sets already is never changed. */
export const serviceEnvironment = (state: State, env: Environment): ServiceEnvironment => {
  const made: Environment = {
    JWT_KEYS: `dev:${state.secrets.jwt}`,
    OPERATOR_EMAIL: operatorEmail,
    OPERATOR_PASSWORD: state.secrets.operator,
  }
  for (const service of services) Object.assign(made, service.variables(addressOf(service, state, env)))
  const entries = environmentVariables.map((name) => [name, env[name] || made[name] || ''])
  return Object.fromEntries(entries) as ServiceEnvironment
}
