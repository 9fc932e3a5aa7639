import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { machine, resultsFolder, withBench } from './bench/environment.ts'
import { type Results, printTable, toJson } from './bench/report.ts'
import type { Row, Scenario } from './bench/scenario.ts'
import { scenarios } from './bench/scenarios.ts'
import { messageOf } from '#platform/errors'
import { ServiceFailure } from './services/index.ts'

const usage = `Usage: bun run bench [${scenarios.map(({ name }) => name).join('|')} ...] [--quick] [--json FILE]`

const readArguments = (given: string[]) => {
  const names: string[] = []
  let quick = false
  let file: string | undefined
  for (let at = 0; at < given.length; at += 1) {
    const word = given[at] ?? ''
    if (word === '--quick') quick = true
    else if (word === '--json') file = given[(at += 1)] ?? refuse('--json needs a file')
    else if (scenarios.some(({ name }) => name === word)) names.push(word)
    else refuse(`There is no scenario ${word}.`)
  }
  const wanted = names.length === 0 ? scenarios : scenarios.filter(({ name }) => names.includes(name))
  return { wanted, quick, file }
}

const refuse = (why: string): never => {
  throw new ServiceFailure(`${why}\n${usage}`, 2)
}

const say = (line: string) => console.error(line)

/** What is missing on this machine for a scenario, as one line. */
const missingTools = ({ name, needs }: Scenario): string | undefined => {
  const missing = needs.filter(({ program }) => !Bun.which(program))
  if (missing.length === 0) return undefined
  const programs = missing.map(({ program }) => program).join(', ')
  const packages = missing.map(({ debianPackage }) => debianPackage).join(' ')
  return `${name} needs ${programs}: apt-get install ${packages}`
}

const main = async (): Promise<boolean> => {
  const { wanted, quick, file } = readArguments(process.argv.slice(2))
  const startedAt = new Date()
  await mkdir(resultsFolder, { recursive: true })
  const rows: Row[] = []
  const failures: string[] = wanted.flatMap((scenario) => missingTools(scenario) ?? [])
  const able = wanted.filter((scenario) => !missingTools(scenario))
  for (const failure of failures) say(failure)
  if (able.length > 0) {
    await withBench({ quick, progress: say }, async (bench) => {
      for (const scenario of able) {
        say(`${scenario.name}:`)
        try {
          rows.push(...(await scenario.run(bench)))
        } catch (error) {
          failures.push(`${scenario.name} failed: ${messageOf(error)}`)
          console.error(error)
        }
      }
    })
  }
  const results: Results = { startedAt, quick, machine: await machine(), rows, failures }
  const target = file ?? join(resultsFolder, `${startedAt.toISOString().replaceAll(':', '-')}.json`)
  await mkdir(dirname(target), { recursive: true })
  await writeFile(target, toJson(results))
  printTable(results)
  console.log(`\nWritten to ${target}`)
  // A figure that falls short is a result; only what could not be measured is a failure.
  return failures.length === 0
}

try {
  process.exit((await main()) ? 0 : 1)
} catch (error) {
  if (!(error instanceof ServiceFailure)) throw error
  console.error(error.message)
  process.exit(error.exitCode)
}
