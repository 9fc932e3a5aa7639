import { join } from 'node:path'

// Loaded before the process's own code: what performs durable steps is replaced by what dies at one of them.
Bun.plugin({
  name: 'crash-points',
  setup: (build) => {
    build.onLoad({ filter: /src\/platform\/durable\.ts$/ }, () => ({
      loader: 'ts',
      contents: `export { durable } from ${JSON.stringify(join(import.meta.dir, 'killing-durable.ts'))}`,
    }))
  },
})
