import { type Breach, type Published, additionsOf, breachesOf } from './messages/breaches.ts'
import { modules, readPublished } from './messages/published.ts'

/** What to do instead of a breach. */
export const advice = ({ type, at, what }: Breach): string => {
  const next = type.replace(/\.v(\d+)$/, (_, version: string) => `.v${Number(version) + 1}`)
  return `${type}${at === '' ? '' : `, ${at}`}: ${what}.\n    It is published: leave it as it was, and add ${next} for what is to be different.`
}

export type Judged = { breaches: string[]; unpublished: string[] }

/** What keeps the declared types from being those that are published. */
export const judge = (published: Published, declared: Published): Judged => ({
  breaches: breachesOf(published, declared).map(advice),
  unpublished: additionsOf(published, declared),
})

/** Writes down the types and fields that are new; nothing when a published one is broken. With `--check` only looks. */
const main = async (check: boolean): Promise<number> => {
  const judged = await Promise.all(
    modules.map(async (module) => ({ ...module, ...judge(await readPublished(module.path), module.declared) })),
  )
  const breaches = judged.flatMap((module) => module.breaches)
  for (const breach of breaches) console.error(breach)
  if (breaches.length > 0) return 1
  for (const { name, path, declared, unpublished } of judged) {
    if (unpublished.length === 0) continue
    if (check) {
      console.error(
        `${unpublished.join(', ')}: not published as ${name} declares it. Run bun scripts/publish-messages.ts.`,
      )
    } else {
      await Bun.write(path, `${JSON.stringify(declared, null, 2)}\n`)
      console.log(`${unpublished.join(', ')}: published in modules/${name}/published.json.`)
    }
  }
  const unpublished = judged.flatMap((module) => module.unpublished)
  const types = judged.flatMap(({ declared }) => Object.keys(declared))
  console.log(`messages: ${types.length} types, ${unpublished.length} new or with new fields, none broken`)
  return check && unpublished.length > 0 ? 1 : 0
}

if (import.meta.main) process.exit(await main(process.argv.includes('--check')))
