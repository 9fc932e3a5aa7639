import { z } from 'zod'
import type { MessageType, Topic } from './message.ts'

type AnyType = MessageType<string, Topic['kind'], unknown>

const isMessageType = (value: unknown): value is AnyType =>
  typeof value === 'function' && 'type' in value && 'topic' in value && 'schema' in value

/** The message types that modules declare, out of what their `events.ts` export. */
export const messageTypesOf = (...doors: object[]): AnyType[] =>
  doors.flatMap((door) => Object.values(door).filter(isMessageType))

export type JsonSchema = { [keyword: string]: unknown }

/** The JSON Schema (draft 7) of a message's data, as a reader takes it: fields that it does not know are let pass. */
export const dataSchemaOf = ({ schema }: AnyType): JsonSchema => {
  const { $schema: _, ...own } = z.toJSONSchema(schema, {
    io: 'input',
    target: 'draft-7',
    // What a format says already, in a pattern of the library's making.
    override: ({ jsonSchema }) => {
      if (jsonSchema.format !== undefined) delete jsonSchema.pattern
    },
  })
  return own
}

export type { AnyType as AnyMessageType }
