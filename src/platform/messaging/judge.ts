import { DomainError } from '../errors.ts'
import type { Log } from '../log.ts'
import { type Backoff, backoffMs, sleep } from '../retry.ts'
import type { Wanted } from './handler.ts'
import type { Abandoned, Persist } from './patience.ts'
import type { Takeover } from './takeover.ts'
import type { Trial, Verdict } from './trial.ts'

/**
 * A message is not even tried when so many processes in a row have died with it: where a machine ends a process with all that
 * it has started, its own death is the only sign of the message's.
 */
const mostDeaths = 4

/** A message that could not be tried so often is handled without. */
const maxTrials = 10

export type JudgeOptions = {
  /** The consumer's name. */
  name: string
  takeover: Pick<Takeover, 'deathsWith' | 'trying'>
  trial: Trial
  persist: Persist
  log: Log
  retry: Backoff
}

/**
 * Says why a message that a process has died with is not handled again, and after how many attempts; undefined when it has not
 * killed, or nothing died with it.
 */
export const createJudge = ({ name, takeover, trial, persist, log, retry }: JudgeOptions) => {
  const tryOut = async (message: Wanted<string>, abandoned: Abandoned): Promise<Verdict> => {
    const { position, record } = message
    const tried = () => trial({ consumer: name, position, record }, abandoned.signal)
    for (let tries = 1; ; tries += 1) {
      const verdict = await persist(abandoned, () => takeover.trying(message, tried))
      abandoned.check()
      if (verdict !== 'untried' || tries === maxTrials) return verdict
      await sleep(backoffMs(tries, retry), abandoned.signal)
    }
  }

  return async (
    message: Wanted<string>,
    abandoned: Abandoned,
  ): Promise<{ error: DomainError; attempts: number } | undefined> => {
    const deaths = takeover.deathsWith(message)
    if (deaths === 0) return undefined
    const { position } = message
    log.warn({ consumer: name, position, deaths }, 'a process died with this message; it is tried in one of its own')
    if (deaths < mostDeaths && (await tryOut(message, abandoned)) !== 'died') return undefined
    const text =
      'A process died while it handled this message alone, and so did whoever tried it: it is not tried again.'
    return { error: new DomainError('crash', text), attempts: deaths + 1 }
  }
}
