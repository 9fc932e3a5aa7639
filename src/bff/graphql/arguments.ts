import { decodeCursor, pageInput, parseInput } from '../inputs.ts'
import { idParameter } from '../openapi.ts'

/** @throws InvalidInputError when the id is no UUID */
export const parseId = (id: string): string => parseInput(idParameter, { id }).id

type Page = { first?: number | null | undefined; after?: string | null | undefined }

/** The page that a connection's arguments ask for. @throws InvalidInputError */
export const parsePage = ({ first, after }: Page): { limit: number; before: string | undefined } => {
  const { limit } = parseInput(pageInput, first === null || first === undefined ? {} : { limit: first })
  return { limit, before: decodeCursor(after ?? undefined) }
}
