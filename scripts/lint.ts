import { resolve } from 'node:path'
import { type Finding, checkBoundaries } from './lint/boundaries.ts'
import { checkMigrations } from './lint/migrations.ts'
import { readTree } from './lint/sources.ts'
import { checkSteps } from './lint/steps.ts'

const root = resolve(import.meta.dir, '..')

const print = ({ file, line, rule, what, way }: Finding) =>
  console.error(`${file}:${line}  ${rule}  ${what}\n    ${way}`)

// Run by bun, so that a machine without Node can lint.
const oxlint = Bun.spawn([process.execPath, 'node_modules/.bin/oxlint', '--type-aware', '.'], {
  cwd: root,
  stdout: 'inherit',
  stderr: 'inherit',
})

const { sources, migrations, schemas, links, project } = readTree(root)
const { findings, files, edges } = checkBoundaries(sources, project)
if (edges === 0) throw new Error('the boundary check saw no import at all')
const all = [...findings, ...links, ...checkMigrations(migrations, schemas), ...checkSteps(sources)]

const exitCode = await oxlint.exited
for (const finding of all) print(finding)
console.log(
  `boundaries: ${files} files, ${edges} imports and ${migrations.length} migrations checked, ${all.length} refused`,
)
process.exit(exitCode === 0 && all.length === 0 ? 0 : 1)
