import { writeFileSync } from 'node:fs'

/** The Debian package that turns a process's clock. */
export const clockTool = { program: 'faketime', debianPackage: 'faketime' }

/** What a process needs in its environment for its clock to be turned; undefined when this machine cannot do it. */
export const findClock = (): { preload: string } | undefined => {
  const program = Bun.which(clockTool.program)
  if (!program) return undefined
  const found = Bun.spawnSync([program, '-f', '+0s', 'printenv', 'LD_PRELOAD'], { stderr: 'ignore' })
  const preload = found.stdout.toString().trim()
  return found.exitCode === 0 && preload ? { preload } : undefined
}

/** The clock of one process, right at first: it reads `file` anew every second. The monotonic clock stays right. */
export const createClock = ({ preload }: { preload: string }, file: string) => {
  const turn = (seconds: number) => writeFileSync(file, `${seconds < 0 ? '' : '+'}${seconds}s\n`)
  turn(0)
  return {
    environment: {
      LD_PRELOAD: preload,
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_CACHE_DURATION: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    },
    /** Sets the clock off by so many seconds, within a second. */
    turn,
  }
}

export type Clock = ReturnType<typeof createClock>
