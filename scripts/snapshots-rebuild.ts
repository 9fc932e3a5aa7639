import { moduleNames, operate, parseModuleName } from './operate/hosted.ts'

const [given] = process.argv.slice(2)

await operate(async (hosted) => {
  const names = given === undefined ? moduleNames : [parseModuleName(given)]
  for (const name of names) {
    const startedAt = performance.now()
    const count = await hosted[name].snapshots.rebuild((done) => process.stderr.write(`\r${name}: ${done} snapshots`))
    process.stderr.write('\r')
    console.log(`${name}: ${count} snapshots rebuilt in ${Math.round(performance.now() - startedAt)} ms`)
  }
})
