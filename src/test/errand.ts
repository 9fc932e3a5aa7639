import type { Input, SagaDefinition, StepDefinition } from '../platform/saga/definition.ts'
import { done, failed, started, storyOf, timeout, undone } from './saga-story.ts'

export const step: Omit<StepDefinition, 'name'> = {
  kind: 'local',
  compensation: 'local',
  timeoutMs: 0,
  retries: 0,
  retryOn: [],
  undoRetries: 2,
  backoff: { firstMs: 100, maxMs: 300 },
}

export type Known = { ticket?: string; held?: boolean }

export const definition: SagaDefinition = {
  name: 'errand',
  steps: [
    { ...step, name: 'hold' },
    { ...step, name: 'ask', kind: 'command', compensation: 'command', timeoutMs: 250, retries: 2, retryOn: ['busy'] },
    { ...step, name: 'tell', kind: 'command', compensation: 'none', timeoutMs: 250 },
    { ...step, name: 'seal', retries: 1, retryOn: ['locked'] },
  ],
}

/** Tells a story of an errand. */
export const { given } = storyOf<Known>(definition, {})

export const asking: Input<Known>[] = [started, done('hold')]
export const telling = [...asking, done('ask')]
export const sealing = [...telling, done('tell')]
export const completed = [...sealing, done('seal')]
/** The tries of `ask` are used up. */
export const gaveUp = [...asking, timeout('step', 'ask', 1), timeout('step', 'ask', 2), timeout('step', 'ask', 3)]
/** `tell` is refused, `ask` is being undone. */
export const undoingAsk = [...telling, failed('tell', 'deaf')]
export const undoingHold = [...undoingAsk, undone('ask')]
export const compensated = [...undoingHold, undone('hold')]
/** The tries to undo `ask` are used up. */
export const stuck = [...gaveUp, timeout('undo', 'ask', 1), timeout('undo', 'ask', 2), timeout('undo', 'ask', 3)]
