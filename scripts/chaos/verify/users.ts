import { userSnapshot } from '#modules/users'
import type { World } from '../commands.ts'
import { eachOf, read } from './read.ts'

/** Each answered registration, name and closing is there. */
export const verifyUsers = (world: World): Promise<void> =>
  eachOf(world.record.customers, async ({ id, token, name, late, version, closing, closed }) => {
    const { record, operator } = world
    const user = await read(world, userSnapshot, `/users/${id}`, closing ? operator : token)
    if (!user) return
    if (closed && user.status !== 'closed') record.breach(`user ${id} was answered to be closed and is ${user.status}`)
    if (user.version < version) record.breach(`user ${id} was answered at version ${version} and is at ${user.version}`)
    if (!closing && user.name !== name && !late.has(user.name ?? ''))
      record.breach(`user ${id} was answered to be ${name} and is ${user.name}`)
  })

export const verifySignOuts = ({ door, record }: World): Promise<void> =>
  eachOf(record.signedOut, async (token) => {
    const answer = await door.ask({ method: 'GET', path: '/orders', token })
    if (answer && answer.status !== 401) record.breach(`a token that was signed out is answered ${answer.status}`)
  })
