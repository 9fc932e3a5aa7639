import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { messageOf } from '#platform/errors'
import { clockTool } from './chaos/clock.ts'
import { type FaultKind, faultKinds } from './chaos/fault.ts'
import { resultsFolder, runChaos, unavailableKinds } from './chaos/perform.ts'
import { breachesOf, reportLines } from './chaos/report.ts'
import { ServiceFailure } from './services/index.ts'
import { interruptible } from './services/interruptible.ts'
import { tryLock } from './services/lock.ts'

const usage = `Usage: bun run chaos [--seconds N] [--seed S] [--rate COMMANDS] [--without all|KIND,...] [--require-all]
Kinds of faults: ${faultKinds.join(', ')}`

const options = {
  seconds: { type: 'string', default: '60' },
  seed: { type: 'string' },
  rate: { type: 'string', default: '130' },
  without: { type: 'string', default: '' },
  'require-all': { type: 'boolean', default: false },
} as const

const numberOf = (name: string, text: string, from: number, to: number): number => {
  const number = Number(text)
  if (text.trim() !== '' && Number.isInteger(number) && number >= from && number <= to) return number
  throw new ServiceFailure(`--${name} must be a whole number from ${from} to ${to}.\n${usage}`, 2)
}

const kindsOf = (text: string): FaultKind[] => {
  if (text === 'all') return faultKinds
  return text
    .split(',')
    .filter(Boolean)
    .map((name) => {
      const kind = faultKinds.find((kind) => kind === name)
      if (!kind) throw new ServiceFailure(`There is no fault ${name}.\n${usage}`, 2)
      return kind
    })
}

const readArguments = () => {
  try {
    const { values } = parseArgs({ options })
    return {
      seconds: numberOf('seconds', values.seconds, 5, 86_400),
      seed: numberOf('seed', values.seed ?? String(Math.floor(Math.random() * 2 ** 31)), 0, 2 ** 32 - 1),
      commandsPerSecond: numberOf('rate', values.rate, 1, 10_000),
      without: kindsOf(values.without),
      requireAll: values['require-all'],
    }
  } catch (error) {
    if (error instanceof ServiceFailure) throw error
    throw new ServiceFailure(`${messageOf(error)}\n${usage}`, 2)
  }
}

const main = async (): Promise<boolean> => {
  const { requireAll, ...asked } = readArguments()
  if (unavailableKinds().length > 0) {
    const { program, debianPackage } = clockTool
    const line = `${program} is missing, so no clock is turned: apt-get install ${debianPackage}`
    if (requireAll) throw new ServiceFailure(line)
    console.log(line)
  }
  const lock = tryLock('chaos-run')
  if (!lock) throw new ServiceFailure('Another chaos run goes on in this clone.')
  try {
    const progress = (line: string) => console.error(line)
    const outcome = await interruptible((signal) => runChaos({ ...asked, progress, signal }))
    const lines = reportLines(outcome)
    console.log(`\n${lines.join('\n')}`)
    writeFileSync(join(resultsFolder, 'report.txt'), `${lines.join('\n')}\n`)
    return breachesOf(outcome).length === 0
  } finally {
    lock.release()
  }
}

try {
  process.exit((await main()) ? 0 : 1)
} catch (error) {
  const expected = error instanceof ServiceFailure
  console.error(expected ? error.message : error)
  process.exit(expected ? error.exitCode : 1)
}
