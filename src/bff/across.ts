import { z } from '@hono/zod-openapi'
import { type DomainError, ElsewhereError } from '#platform/errors'
import type { BffOptions } from './bff.ts'
import { type Elsewhere, type Incoming, ask, forward, onBehalfOf, wasForwarded } from './forward.ts'
import type { ModuleName } from './owners.ts'

type Places = Pick<BffOptions, 'modules' | 'elsewhere'>

/** The modules that this process hosts. */
const hostedHere = ({ modules, elsewhere }: Places) =>
  Object.values(modules).filter(({ name }) => !elsewhere.some((place) => place.name === name))

type Module = BffOptions['modules'][ModuleName]

/** The module here that has what is asked for; undefined when none has. */
export const hostWith = async (places: Places, has: (module: Module) => Promise<unknown>) => {
  for (const module of hostedHere(places)) if (await has(module)) return module
  return undefined
}

/** Asks for the list of one module alone. */
export const moduleQuery = z.object({ module: z.enum(['users', 'orders', 'payments']).optional() })

/** A list of what the modules have, and which of them could not be asked. */
export const listOf = <Item extends z.ZodType>(item: Item) =>
  z.object({
    items: z.array(item),
    missing: z.array(z.object({ module: z.string(), code: z.string(), detail: z.string() })).optional(),
  })

export type Listing<Item extends z.ZodType> = {
  /** The one module that was asked for. */
  only: ModuleName | undefined
  item: Item
  /** Where the others are asked for theirs, when it is not the route that was asked for here. */
  path?: string
  /** The list of a module that is hosted here. */
  own: (module: Module) => Promise<z.infer<Item>[]>
}

/**
 * The lists of all modules as one, wherever they are hosted. Those that cannot be asked are `missing`, so that what the others
 * have is seen. @throws ElsewhereError when it is the only one that was asked for
 */
export const listAcross = async <Item extends z.ZodType>(
  incoming: Incoming,
  { modules, elsewhere }: Places,
  { only, item, own, path = incoming.req.path }: Listing<Item>,
) => {
  const names = only ? [only] : (Object.keys(modules) as ModuleName[])
  const missing: { module: string; code: ElsewhereError['code']; detail: string }[] = []
  const lists = await Promise.all(
    names.map(async (name) => {
      const place = elsewhere.find((module) => module.name === name)
      if (!place) return own(modules[name])
      try {
        return await listFrom(incoming, place, { item, path })
      } catch (error) {
        if (only || !(error instanceof ElsewhereError)) throw error
        missing.push({ module: name, code: error.code, detail: error.message })
        return []
      }
    }),
  )
  return { items: lists.flat(), ...(missing.length > 0 && { missing }) }
}

const listFrom = async <Item extends z.ZodType>(
  { req, var: { call } }: Incoming,
  place: Elsewhere,
  { item, path }: { item: Item; path: string },
): Promise<z.infer<Item>[]> => {
  const answer = await ask(place, {
    method: 'GET',
    path: `${path}?module=${place.name}`,
    headers: onBehalfOf(req.raw.headers, call),
  })
  const body: unknown = await answer.json().catch(() => undefined)
  const listed = z.object({ items: z.array(item) }).safeParse(body)
  if (answer.status === 200 && listed.success) return listed.data.items
  const { data } = z.object({ code: z.literal('module-not-hosted'), detail: z.string() }).safeParse(body)
  const detail = data?.detail ?? `The process that hosts ${place.name} answered ${answer.status}.`
  throw new ElsewhereError(data?.code ?? 'module-not-answering', detail)
}

/**
 * Hands a request about something that no module here has to the processes that host the others, one after the other, until
 * one has it. @throws `absent` when nobody has it; ElsewhereError when somebody could not be asked
 */
export const askOthers = async (incoming: Incoming, elsewhere: Elsewhere[], absent: DomainError): Promise<Response> => {
  if (wasForwarded(incoming.req.raw.headers)) throw absent
  let unasked: ElsewhereError | undefined
  const places = new Map(elsewhere.map((place) => [place.address, place]))
  for (const place of places.values()) {
    try {
      const answer = await forward(incoming, place)
      if (answer.status !== 404) return answer
    } catch (error) {
      if (!(error instanceof ElsewhereError)) throw error
      unasked ??= error
    }
  }
  throw unasked ?? absent
}
