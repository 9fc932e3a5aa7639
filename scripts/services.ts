import { ServiceFailure, servicesDown, servicesStatus, servicesUp, type ServicesStatus } from './services/index.ts'

const profile = 'dev'
const say = (line: string) => console.error(line)

const table = (status: ServicesStatus): string => {
  const rows = status.services.map(({ title, up, from, address, pid }) => [
    title,
    up ? 'up' : 'down',
    from === 'environment' ? 'from the environment' : from,
    up ? address : '',
    pid ? `pid ${pid}` : '',
  ])
  const widths = [0, 1, 2, 3, 4].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

const up = async () => {
  await servicesUp(profile, { progress: say })
  console.log(table(await servicesStatus(profile)))
}

const down = async () => {
  const stopped = await servicesDown(profile)
  console.log(stopped.length > 0 ? `Stopped: ${stopped.join(', ')}. The data is kept.` : 'Nothing was running.')
}

const status = async (json: boolean) => {
  const found = await servicesStatus(profile)
  if (json && found.environment) console.log(JSON.stringify(found.environment))
  if (!json) console.log(table(found))
  if (found.up) return
  const missing = found.services.filter((service) => !service.up).map((service) => service.title)
  throw new ServiceFailure(`Not up: ${missing.join(', ')}. Start with: bun run services up`)
}

const main = async ([command, ...flags]: string[]) => {
  const json = flags.includes('--json')
  const unknown = flags.find((flag) => flag !== '--json')
  if (command === 'up' && flags.length === 0) return up()
  if (command === 'down' && flags.length === 0) return down()
  if (command === 'status' && unknown === undefined) return status(json)
  throw new ServiceFailure('Usage: bun run services up|down|status [--json]', 2)
}

try {
  await main(process.argv.slice(2))
} catch (error) {
  if (!(error instanceof ServiceFailure)) throw error
  console.error(error.message)
  process.exit(error.exitCode)
}
