import { z } from '@hono/zod-openapi'
import { decodeCursor, pageSize, parseInput } from '../inputs.ts'
import { idParameter } from '../openapi.ts'

/** @throws InvalidInputError when the id is no UUID */
export const parseId = (id: string): string => parseInput(idParameter, { id }).id

const firstInput = z.object({ first: pageSize })

/** How many of a list an argument asks for. @throws InvalidInputError */
export const parseFirst = (first: number | null | undefined): number =>
  parseInput(firstInput, { first: first ?? undefined }).first

type Page = { first?: number | null | undefined; after?: string | null | undefined }

/** The page that a connection's arguments ask for. @throws InvalidInputError */
export const parsePage = ({ first, after }: Page): { limit: number; before: string | undefined } => ({
  limit: parseFirst(first),
  before: decodeCursor(after ?? undefined, 'after'),
})
