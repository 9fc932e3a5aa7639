import pino, { type Logger } from 'pino'
import pretty from 'pino-pretty'

export type Log = Pick<Logger, 'debug' | 'info' | 'warn' | 'error' | 'fatal'> & {
  child(bindings: Record<string, unknown>): Log
}

export type LogLevel = 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent'

const serializers = { error: (error: unknown) => (error instanceof Error ? pino.stdSerializers.err(error) : error) }

/** One JSON object a line on stdout; with `readable`, lines for people. Secrets and personal data are never fields. */
export const createLog = (options: { level: LogLevel; readable: boolean }): Log =>
  options.readable
    ? pino(
        { level: options.level, base: null, serializers },
        pretty({ colorize: process.stdout.isTTY, ignore: 'pid,hostname', translateTime: 'HH:MM:ss.l', sync: true }),
      )
    : pino({ level: options.level, base: { pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime, serializers })
