import { StartError, UnavailableError, isTransient, messageOf } from '#platform/errors'
import { userEvents } from '#events/users'
import { withAllModules } from '../src/app.ts'
import { examine, report } from './invariants/examine.ts'
import { operate } from './operate/hosted.ts'

/** Says in one line that a service is away, whatever its driver threw. */
const inOneLine =
  (what: string, away: (error: unknown) => boolean) =>
  (error: unknown): never => {
    throw away(error) ? new UnavailableError(`${what}: ${messageOf(error)}`, { cause: error }) : error
  }

const isOfService = (error: unknown): boolean =>
  isTransient(error) || (error instanceof Error && error.name.startsWith('KafkaJS'))

if (import.meta.main) {
  await operate(async (_, app) => {
    const whole = withAllModules(app)
    await app.check()
    await app.broker.partitions([userEvents.name]).catch(inOneLine('The broker does not answer', () => true))
    const examined = await examine(whole).catch(inOneLine('The invariants could not all be checked', isOfService))
    for (const line of examined.flatMap(report)) console.log(line)
    const broken = examined.filter(({ broken }) => broken.count > 0).length
    if (broken > 0) throw new StartError(`${broken} of ${examined.length} invariants are broken.`)
  })
}
