import pino, { type Logger } from 'pino'
import pretty from 'pino-pretty'
import { messageOf } from './errors.ts'

export type Log = Pick<Logger, 'debug' | 'info' | 'warn' | 'error' | 'fatal'> & {
  child(bindings: Record<string, unknown>): Log
}

export type LogLevel = 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent'

/** Where an error came from; the text in front of it is its message. */
const framesOf = (error: Error): string => (error.stack ?? '').match(/^ +at .*$/gm)?.join('\n') ?? ''

const textOf = (error: Error, name: 'code' | 'constraint_name' | 'table_name'): string | undefined => {
  const value: unknown = Reflect.get(error, name)
  return typeof value === 'string' ? value : undefined
}

/**
 * An error as it is logged: what it is, and not what else hangs on it. The driver's errors hold the values of the statement
 * that failed, and Postgres repeats the row that it refused.
 */
export const describeError = (error: unknown, depth = 0): unknown => {
  if (!(error instanceof Error)) return error
  return {
    type: error.name,
    message: messageOf(error),
    code: textOf(error, 'code'),
    constraint: textOf(error, 'constraint_name'),
    table: textOf(error, 'table_name'),
    stack: framesOf(error),
    ...(error.cause !== undefined && depth < 5 ? { cause: describeError(error.cause, depth + 1) } : {}),
  }
}

const serializers = { error: (error: unknown) => describeError(error) }

/** One JSON object a line on stdout; with `readable`, lines for people. Secrets and personal data are never fields. */
export const createLog = (options: { level: LogLevel; readable: boolean }): Log =>
  options.readable
    ? pino(
        { level: options.level, base: null, serializers },
        pretty({ colorize: process.stdout.isTTY, ignore: 'pid,hostname', translateTime: 'HH:MM:ss.l', sync: true }),
      )
    : pino({ level: options.level, base: { pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime, serializers })
