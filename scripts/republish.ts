import { parseArgs } from 'node:util'
import { StartError, messageOf } from '#platform/errors'
import { modulesNamed, operate } from './operate/hosted.ts'

const usage = `usage: bun run republish <module> [--per-second N] [--raise N]

       --per-second N  the most aggregates a second, so that what is new is not held up behind them: 500
       --raise N       by how much each sequence goes up: 1. More after a restore, when consumers may have seen later ones`

const numberOf = (name: string, text: string): number => {
  const number = Number(text)
  if (!/^\d+$/.test(text) || number < 1 || number > 1_000_000)
    throw new StartError(`--${name} ${text} is not a whole number from 1 to 1000000.\n${usage}`)
  return number
}

type Asked = { name: string; perSecond: number; raise: number }

const parse = (): Asked => {
  const options = {
    'per-second': { type: 'string', default: '500' },
    raise: { type: 'string', default: '1' },
  } as const
  try {
    const { values, positionals } = parseArgs({ options, allowPositionals: true })
    const [name, ...more] = positionals
    if (name === undefined || more.length > 0) throw new StartError(usage)
    return {
      name,
      perSecond: numberOf('per-second', values['per-second']),
      raise: numberOf('raise', values.raise),
    }
  } catch (error) {
    throw error instanceof StartError ? error : new StartError(`${messageOf(error)}\n${usage}`)
  }
}

await operate(async (hosted) => {
  const { name, ...asked } = parse()
  const progress = (thing: string, count: number) => process.stderr.write(`\r${name}: ${count} ${thing} `)
  for (const module of modulesNamed(hosted, name)) {
    const restated = await module.republish({ ...asked, progress })
    process.stderr.write('\r')
    console.log(`${name}: restated ${[...restated].map(([thing, count]) => `${count} ${thing}`).join(', ')}`)
  }
})
