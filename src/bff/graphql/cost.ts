import {
  type ASTVisitor,
  type FieldNode,
  type FragmentDefinitionNode,
  GraphQLError,
  Kind,
  type SelectionSetNode,
  type ValidationContext,
} from 'graphql'

/** About so many fields an answer may have. A page of a hundred orders with everything that they join has a tenth of it. */
export const maxFields = 100_000

/** Of how many things a list is taken to be; a page is as long as `first` says. The depth of introspection is Yoga's to limit. */
const lengths: Record<string, number> = { products: 100, lines: 5, steps: 4 }
const pages = new Set(['orders', 'openCheckouts'])
const pageLength = { unsaid: 20, most: 100 }

const lengthOf = ({ name, arguments: given = [] }: FieldNode): number => {
  if (!pages.has(name.value)) return lengths[name.value] ?? 1
  const first = given.find((argument) => argument.name.value === 'first')?.value
  if (!first) return pageLength.unsaid
  return first.kind === Kind.INT ? Math.max(1, Math.min(Number(first.value), pageLength.most)) : pageLength.most
}

/** Refuses a document whose answer could grow beyond `maxFields`: users have orders, which have users, which have orders. */
export const limitCost = (context: ValidationContext): ASTVisitor => {
  const known = new Map<string, number>()

  const ofFragment = (fragment: FragmentDefinitionNode | null | undefined): number => {
    if (!fragment) return 0
    const name = fragment.name.value
    // A fragment within itself is refused by another rule, and counts nothing here.
    if (!known.has(name)) known.set(name, 0).set(name, of(fragment.selectionSet))
    return known.get(name) ?? 0
  }
  const of = ({ selections }: SelectionSetNode): number => {
    let fields = 0
    for (const selection of selections) {
      if (selection.kind === Kind.FRAGMENT_SPREAD) fields += ofFragment(context.getFragment(selection.name.value))
      else if (selection.kind === Kind.INLINE_FRAGMENT) fields += of(selection.selectionSet)
      else fields += 1 + (selection.selectionSet ? lengthOf(selection) * of(selection.selectionSet) : 0)
    }
    return fields
  }
  return {
    OperationDefinition: (node) => {
      if (of(node.selectionSet) <= maxFields) return
      const message = `The answer could have more than ${maxFields} fields: ask for less at once.`
      context.reportError(new GraphQLError(message, { nodes: [node], extensions: { code: 'too-complex' } }))
    },
  }
}
