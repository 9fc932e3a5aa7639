/** How far a consumer has come with a key: the sequence of its last message, and whether messages of the key are held. */
export type KeyState = { sequence: number; blocked: boolean }

/** A message in the queue of its key. `poison`: it cannot be handled; `passed`: nobody wants it, it only moves the sequence. */
export type Turn = {
  key: string
  /** 1, 2, 3, ... per key; undefined on a topic of commands, where the order of arrival counts. */
  sequence: number | undefined
  kind: 'wanted' | 'passed' | 'poison'
  /** It says the whole state: what is missing before it need not come any more. */
  restates: boolean
}

/** `parked`: an operator decides; `waiting`: for a message that is missing before it; `queued`: behind one of these. */
export type HeldStatus = 'parked' | 'waiting' | 'queued'

/** Why a message is held. */
export type HeldBecause = 'poison' | 'gap' | 'step-back' | 'behind'

export type Turns<Each extends Turn> = {
  /** Whose turn it is, in order. */
  apply: Each[]
  /** What is held from now on, in order. */
  hold: { turn: Each; status: HeldStatus; because: HeldBecause }[]
  /** The keys whose missing message has come, or need not come any more: what they hold may follow. */
  filled: string[]
}

export const start: KeyState = { sequence: 0, blocked: false }

/**
 * Decides whose turn it is among messages that the consumer has not met before, and moves `keys`. Messages of one key are
 * applied in the order of their sequence and without a gap. What cannot be applied blocks its key, and no other: what follows
 * is queued behind it, but for the one that is missing. A message whose sequence has passed is parked and blocks nothing.
 * A key that is older than the consumer may begin anywhere: what came before it joined may have left the topic. A restatement
 * may follow any message before it; behind others that are held, it ends their wait for what is missing.
 */
export const takeTurns = <Each extends Turn>(
  keys: Map<string, KeyState>,
  arrived: Each[],
  isOlder: (key: string) => boolean = () => false,
): Turns<Each> => {
  const turns: Turns<Each> = { apply: [], hold: [], filled: [] }
  for (const turn of arrived) {
    const { key, sequence, kind, restates } = turn
    const state = keys.get(key) ?? start
    const hold = (status: HeldStatus, because: HeldBecause) => {
      turns.hold.push({ turn, status, because })
      if (because !== 'step-back') keys.set(key, { ...state, blocked: true })
    }
    const past = sequence !== undefined && sequence <= state.sequence
    const joins = sequence !== undefined && !keys.has(key) && isOlder(key)
    const replaces = restates && !state.blocked
    const isNext = kind !== 'poison' && (joins || replaces || sequence === state.sequence + 1)
    if (past) {
      if (kind !== 'passed') hold('parked', 'step-back')
    } else if (state.blocked && !isNext) {
      hold('queued', 'behind')
      if (restates) turns.filled.push(key)
    } else if (kind === 'poison') hold('parked', 'poison')
    else if (sequence !== undefined && !isNext) hold('waiting', 'gap')
    else {
      turns.apply.push(turn)
      if (sequence !== undefined) keys.set(key, { ...state, sequence })
      if (state.blocked) turns.filled.push(key)
    }
  }
  return turns
}

/** What becomes of the first held message of a key, which an operator has not parked. */
export const judgeHead = (state: KeyState, { sequence, kind, restates }: Turn): 'apply' | 'wait' | HeldBecause => {
  if (sequence !== undefined && sequence <= state.sequence) return 'step-back'
  if (kind === 'poison') return 'poison'
  return restates || sequence === undefined || sequence === state.sequence + 1 ? 'apply' : 'wait'
}
