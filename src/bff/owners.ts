import type { BffOptions } from './bff.ts'

export type ModuleName = keyof BffOptions['modules']

/**
 * Whose each route and each mutation is. A process that does not host the module sends them to the one that does; everything
 * else (queries, health, documents, what operators look at) is answered by every process.
 */
export const owners: Record<ModuleName, { routes: string[]; mutations: string[] }> = {
  users: {
    routes: ['/users', '/sessions'],
    mutations: ['registerUser', 'createSession', 'renameUser', 'closeUser'],
  },
  orders: {
    routes: ['/products', '/orders', '/checkouts'],
    mutations: ['placeOrder', 'cancelOrder', 'checkout'],
  },
  payments: {
    routes: ['/payments', '/settlements'],
    mutations: ['refundPayment', 'startSettlement'],
  },
}
