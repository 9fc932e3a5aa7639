import { type UserSnapshot, closeUser, getUser, renameUser } from '#modules/users'
import { createSessionInput, parseInput, registerUserInput, renameUserInput } from '../inputs.ts'
import { type Session, createSession } from '../sessions.ts'
import { noteUser, readUser, refuseForeignUser, register } from '../users.ts'
import { parseId } from './arguments.ts'
import { builder } from './builder.ts'

const UserStatus = builder.enumType('UserStatus', { values: ['active', 'closed'] as const })

export const User = builder.objectRef<UserSnapshot>('User').implement({
  fields: (t) => ({
    id: t.exposeID('id'),
    name: t.exposeString('name', { nullable: true, description: 'null once the account is closed' }),
    email: t.exposeString('email', { nullable: true, description: 'null once the account is closed' }),
    status: t.field({ type: UserStatus, resolve: (user) => user.status }),
    version: t.exposeInt('version'),
    createdAt: t.expose('createdAt', { type: 'DateTime' }),
  }),
})

const SessionType = builder.objectRef<Session>('Session').implement({
  fields: (t) => ({
    token: t.exposeString('token'),
    expiresAt: t.expose('expiresAt', { type: 'DateTime' }),
    userId: t.exposeID('userId'),
  }),
})

const RegisterUserInput = builder.inputType('RegisterUserInput', {
  fields: (t) => ({
    name: t.string({ required: true }),
    email: t.string({ required: true }),
    password: t.string({ required: true }),
  }),
})

const CreateSessionInput = builder.inputType('CreateSessionInput', {
  fields: (t) => ({ email: t.string({ required: true }), password: t.string({ required: true }) }),
})

builder.queryFields((t) => ({
  me: t.field({
    type: User,
    nullable: true,
    description: 'The signed-in user; null for nobody',
    resolve: async (_, _arguments, { call }) => {
      if (!(await call.identify())) return null
      return call.query(({ userId }) => getUser(call.users, userId))
    },
  }),
  user: t.field({
    type: User,
    nullable: true,
    args: { id: t.arg.id({ required: true }) },
    resolve: (_, { id }, { call }) => readUser(call, parseId(id)),
  }),
}))

builder.mutationFields((t) => ({
  registerUser: t.field({
    type: User,
    args: { input: t.arg({ type: RegisterUserInput, required: true }) },
    resolve: (_, { input }, { call, options }) => register(options, call, parseInput(registerUserInput, input)),
  }),
  createSession: t.field({
    type: SessionType,
    args: { input: t.arg({ type: CreateSessionInput, required: true }) },
    resolve: (_, { input }, { call, options }) => createSession(options, call, parseInput(createSessionInput, input)),
  }),
  renameUser: t.field({
    type: User,
    args: { id: t.arg.id({ required: true }), name: t.arg.string({ required: true }) },
    resolve: async (_, { id, name }, { call }) => {
      const input = { id: parseId(id), ...parseInput(renameUserInput, { name }) }
      refuseForeignUser(await call.signedIn(), input.id)
      const user = await renameUser(call.users, input)
      noteUser(call, user)
      return user
    },
  }),
  closeUser: t.field({
    type: User,
    args: { id: t.arg.id({ required: true }) },
    resolve: async (_, { id }, { call }) => {
      const input = { id: parseId(id) }
      refuseForeignUser(await call.signedIn(), input.id)
      const user = await closeUser(call.users, input)
      noteUser(call, user)
      return user
    },
  }),
}))
