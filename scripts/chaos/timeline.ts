import { appendFileSync, writeFileSync } from 'node:fs'

/** What happened when, on the screen and in a file; seconds from the beginning of the faults. */
export const createTimeline = (file: string) => {
  const lines: string[] = []
  let begunAt = performance.now()
  writeFileSync(file, '')
  return {
    begin: () => {
      begunAt = performance.now()
    },
    sinceMs: () => performance.now() - begunAt,
    note: (what: string) => {
      const seconds = ((performance.now() - begunAt) / 1_000).toFixed(1)
      const line = `${seconds.padStart(7)} s  ${what}`
      lines.push(line)
      appendFileSync(file, `${new Date().toISOString()} ${line}\n`)
      console.log(line)
    },
    lines,
  }
}

export type Timeline = ReturnType<typeof createTimeline>
