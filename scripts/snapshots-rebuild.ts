import { StartError } from '#platform/errors'
import { operate } from './operate/hosted.ts'

const [given] = process.argv.slice(2)

await operate(async (hosted) => {
  const modules = Object.values(hosted).filter(({ name }) => given === undefined || name === given)
  if (modules.length === 0)
    throw new StartError(`There is no module ${given} here: the modules are ${Object.keys(hosted).join(', ')}.`)
  for (const { name, snapshots } of modules) {
    const startedAt = performance.now()
    const count = await snapshots.rebuild((done) => process.stderr.write(`\r${name}: ${done} snapshots`))
    process.stderr.write('\r')
    console.log(`${name}: ${count} snapshots rebuilt in ${Math.round(performance.now() - startedAt)} ms`)
  }
})
