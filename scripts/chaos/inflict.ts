import type { App } from './apps.ts'
import type { Fault } from './fault.ts'
import type { ServiceName, Stage } from './stage.ts'

type Scene = { apps: App[]; stage: Stage }

type Inflicted = () => Promise<void> | void

/** Makes a fault happen; what it answers takes it back. */
export const inflict = async ({ apps, stage }: Scene, fault: Fault): Promise<Inflicted> => {
  const away = async (service: ServiceName, signal: NodeJS.Signals): Promise<Inflicted> => {
    await stage.end(service, signal)
    return () => stage.start(service)
  }
  switch (fault.kind) {
    case 'app-kill': {
      const app = appAt(apps, fault.app)
      await app.killAndHold()
      return () => app.start()
    }
    case 'app-freeze': {
      const app = appAt(apps, fault.app)
      app.signal('SIGSTOP')
      return () => app.signal('SIGCONT')
    }
    case 'app-clock': {
      const { clock } = appAt(apps, fault.app)
      clock?.turn(fault.offsetSeconds)
      return () => clock?.turn(0)
    }
    case 'connections-stall': {
      const gate = appAt(apps, fault.app).gates[fault.link]
      gate.stall()
      return () => gate.open()
    }
    case 'connections-cut': {
      const gate = appAt(apps, fault.app).gates[fault.link]
      if (fault.loses === 'answers') gate.loseAnswers()
      else gate.close()
      return () => gate.open()
    }
    case 'provider-slow':
      for (const { gates } of apps) gates.provider.slow(fault.delayMs)
      return () => apps.forEach(({ gates }) => gates.provider.slow(0))
    case 'provider-down':
      return away('provider', 'SIGKILL')
    // The immediate stop: no checkpoint, and recovery at the next start.
    case 'postgres-stop':
      return away('postgres', 'SIGQUIT')
    case 'broker-kill':
      return away('broker', 'SIGKILL')
    case 'redis-kill':
      return away('redis', 'SIGKILL')
    case 'redis-flush':
      await stage.flush()
      return () => undefined
  }
}

const appAt = (apps: App[], at: number): App => {
  const app = apps[at]
  if (!app) throw new Error(`There is no app-${at}.`)
  return app
}
