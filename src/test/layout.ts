import { type Environment, type ModuleName, moduleNames } from '../config.ts'
import { freePort } from '../../scripts/services/port.ts'

/** What only the host of a module may have. */
const secretsOf: Record<ModuleName, string[]> = {
  users: ['USERS_DATABASE_URL'],
  orders: ['ORDERS_DATABASE_URL'],
  payments: ['PAYMENTS_DATABASE_URL', 'PAYMENT_PROVIDER_URL'],
}

/**
 * The environment of each process of a layout: `users|orders,payments` is two of them, each with the addresses of the others and
 * with nothing that only the host of another module needs. Without a layout, one that hosts all of them.
 */
export const layoutOf = async (environment: Environment, layout: string | undefined): Promise<Environment[]> => {
  if (!layout) return [environment]
  const parts = layout.split('|').map((part) => part.split(','))
  const ports: number[] = []
  for (const _ of parts) ports.push(await freePort(ports))
  const addresses = parts.flatMap((modules, index) =>
    modules.map((name) => [`${name.toUpperCase()}_URL`, `http://127.0.0.1:${ports[index]}`]),
  )
  const common = { ...environment, ...Object.fromEntries(addresses), DATABASE_URL: undefined }
  return parts.map((modules, index) => {
    const foreign = moduleNames.filter((name) => !modules.includes(name)).flatMap((name) => secretsOf[name])
    return {
      ...common,
      ...Object.fromEntries(foreign.map((name) => [name, undefined])),
      MODULES: modules.join(),
      PORT: String(ports[index]),
    }
  })
}
