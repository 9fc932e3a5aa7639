import { spawnSync } from 'node:child_process'
import { chownSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openPostgres } from '#platform/postgres'

const copy = (from: string, to: string) => spawnSync('cp', ['-a', from, to], { stdio: 'ignore' })

/** Copies the data of a Postgres that goes on working, as its manual says under "low level API", beside itself. */
export const takeBackup = async ({ url, folder }: { url: string; folder: string }): Promise<void> => {
  // One connection: the backup belongs to its session.
  const postgres = openPostgres({ url, name: 'backup', poolSize: 1 })
  const backup = join(folder, 'backup')
  try {
    await postgres.run(`select pg_backup_start('bulkhead', true)`)
    // What vanishes or changes meanwhile is made good by the log of the time.
    copy(join(folder, 'data'), backup)
    const [row] = await postgres.run('select labelfile from pg_backup_stop(false)')
    rmSync(join(backup, 'pg_wal'), { recursive: true })
    copy(join(folder, 'data', 'pg_wal'), join(backup, 'pg_wal'))
    const label = join(backup, 'backup_label')
    writeFileSync(label, String(row?.['labelfile']))
    const { uid, gid } = statSync(backup)
    chownSync(label, uid, gid)
    rmSync(join(backup, 'postmaster.pid'), { force: true })
  } finally {
    await postgres.close()
  }
}

/** Puts the copy in the place of the data of a Postgres that has stopped. */
export const restoreBackup = ({ folder }: { folder: string }): void => {
  rmSync(join(folder, 'data'), { recursive: true })
  copy(join(folder, 'backup'), join(folder, 'data'))
}
