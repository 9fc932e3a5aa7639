import { hangsAfterMs } from './trial.ts'

// In a thread of its own beside a process that tries a message: kills it although it hangs, and nobody is left who waits for it.

setTimeout(() => process.kill(process.pid, 'SIGKILL'), hangsAfterMs)
