/** Lets Ctrl-C, or a polite kill, end the work through its signal, so that it can clear up behind itself. */
export const interruptible = async <Result>(work: (signal: AbortSignal) => Promise<Result>): Promise<Result> => {
  const controller = new AbortController()
  const abort = () => controller.abort()
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  for (const name of names) process.on(name, abort)
  try {
    return await work(controller.signal)
  } finally {
    for (const name of names) process.off(name, abort)
  }
}
