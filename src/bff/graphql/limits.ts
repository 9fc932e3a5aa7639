import {
  type ASTVisitor,
  type DocumentNode,
  type FragmentDefinitionNode,
  GraphQLError,
  Kind,
  type ParseOptions,
  type SelectionNode,
  type SelectionSetNode,
  type Source,
  type ValidationContext,
  parse,
} from 'graphql'

export const maxTokens = 8_000
export const maxDepth = 15
export const maxAliases = 100

/** Selections beside each other: validation compares them with one another. */
export const maxWidth = 200

/** Parses no further than `maxTokens`. @throws GraphQLError `too-many-tokens` */
export const parseLimited = (source: string | Source, options?: ParseOptions): DocumentNode => {
  try {
    return parse(source, { ...options, maxTokens })
  } catch (error) {
    if (!(error instanceof GraphQLError) || !error.message.includes('more than')) throw error
    const message = `The document has more than ${maxTokens} tokens: use fragments, or ask for less at once.`
    throw new GraphQLError(message, { extensions: { code: 'too-many-tokens' } })
  }
}

type Shape = { depth: number; aliases: number; width: number }

const leaf: Shape = { depth: 0, aliases: 0, width: 0 }

/** Refuses a document that is nested too deeply, too wide, or asks for the same under too many names. */
export const limitShape = (context: ValidationContext): ASTVisitor => {
  const known = new Map<string, Shape>()

  const ofFragment = (fragment: FragmentDefinitionNode | null | undefined): Shape => {
    if (!fragment) return leaf
    const name = fragment.name.value
    // A fragment within itself is refused by another rule, and counts nothing here.
    if (!known.has(name)) known.set(name, leaf).set(name, ofSet(fragment.selectionSet))
    return known.get(name) ?? leaf
  }
  const ofSelection = (selection: SelectionNode): Shape => {
    if (selection.kind === Kind.FRAGMENT_SPREAD) return ofFragment(context.getFragment(selection.name.value))
    const { depth, aliases, width } = selection.selectionSet ? ofSet(selection.selectionSet) : leaf
    if (selection.kind === Kind.INLINE_FRAGMENT) return { depth, aliases, width }
    return { depth: depth + 1, aliases: aliases + (selection.alias ? 1 : 0), width }
  }
  const ofSet = ({ selections }: SelectionSetNode): Shape => {
    const shape = { ...leaf, width: selections.length }
    for (const selection of selections) {
      const { depth, aliases, width } = ofSelection(selection)
      shape.depth = Math.max(shape.depth, depth)
      shape.width = Math.max(shape.width, width)
      shape.aliases += aliases
    }
    return shape
  }
  return {
    OperationDefinition: (node) => {
      const { depth, aliases, width } = ofSet(node.selectionSet)
      const refuse = (what: string, allowed: number, code: string) =>
        context.reportError(
          new GraphQLError(`The document has ${what}; ${allowed} are allowed.`, {
            nodes: [node],
            extensions: { code },
          }),
        )
      if (depth > maxDepth) refuse(`fields in ${depth} levels`, maxDepth, 'too-deep')
      if (aliases > maxAliases) refuse(`${aliases} aliases`, maxAliases, 'too-many-aliases')
      if (width > maxWidth) refuse(`${width} selections beside each other`, maxWidth, 'too-wide')
    },
  }
}

/** Refuses to tell what the schema is. */
export const refuseIntrospection = (context: ValidationContext): ASTVisitor => ({
  Field: (node) => {
    if (node.name.value !== '__schema' && node.name.value !== '__type') return
    const message = 'The schema is not told here: introspection is off.'
    context.reportError(new GraphQLError(message, { nodes: [node], extensions: { code: 'introspection-off' } }))
  },
})
