import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Tool } from './scenario.ts'

export const wrkTool: Tool = { program: 'wrk', debianPackage: 'wrk' }

export type Load = { url: string; method: 'GET' | 'POST' | 'PATCH'; token: string; body?: string }

const lua = ({ method, token, body }: Load): string =>
  [
    `wrk.method = "${method}"`,
    `wrk.headers["authorization"] = "Bearer ${token}"`,
    ...(body === undefined ? [] : ['wrk.headers["content-type"] = "application/json"', `wrk.body = [==[${body}]==]`]),
  ].join('\n')

/** Loads the address over 64 connections, and returns the answers a second. @throws when any answer is not 2xx */
export const wrk = async (load: Load, seconds: number): Promise<number> => {
  const folder = await mkdtemp(join(tmpdir(), 'bulkhead-wrk-'))
  try {
    const script = join(folder, 'request.lua')
    await Bun.write(script, lua(load))
    const child = Bun.spawn(['wrk', '-t1', '-c64', `-d${seconds}s`, '-s', script, load.url], { stdout: 'pipe' })
    const said = await new Response(child.stdout).text()
    const rate = /Requests\/sec:\s+([\d.]+)/.exec(said)?.[1]
    const wrong = /Non-2xx.*|Socket errors.*/.exec(said)?.[0]
    if ((await child.exited) !== 0 || !rate || wrong) throw new Error(`wrk at ${load.url}: ${wrong ?? said}`)
    return Number(rate)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
