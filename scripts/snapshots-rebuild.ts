import { modulesNamed, operate } from './operate/hosted.ts'

const [given] = process.argv.slice(2)

await operate(async (hosted) => {
  for (const { name, snapshots } of modulesNamed(hosted, given)) {
    const startedAt = performance.now()
    const count = await snapshots.rebuild((done) => process.stderr.write(`\r${name}: ${done} snapshots`))
    process.stderr.write('\r')
    console.log(`${name}: ${count} snapshots rebuilt in ${Math.round(performance.now() - startedAt)} ms`)
  }
})
