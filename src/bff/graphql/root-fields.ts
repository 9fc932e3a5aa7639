import {
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  Kind,
  type OperationDefinitionNode,
  type SelectionNode,
  type SelectionSetNode,
} from 'graphql'

/** The name that a field is answered under. */
export const answeredUnder = ({ name, alias }: FieldNode): string => (alias ?? name).value

const innerOf = (selection: Exclude<SelectionNode, FieldNode>, { definitions }: DocumentNode): SelectionSetNode => {
  if (selection.kind === Kind.INLINE_FRAGMENT) return selection.selectionSet
  const isMeant = (definition: { kind: string }): definition is FragmentDefinitionNode =>
    definition.kind === Kind.FRAGMENT_DEFINITION &&
    (definition as FragmentDefinitionNode).name.value === selection.name.value
  return definitions.find(isMeant)?.selectionSet ?? { kind: Kind.SELECTION_SET, selections: [] }
}

/** The fields of the operation itself, also those in fragments and those that a directive will leave out. */
export const rootFields = ({ selectionSet }: OperationDefinitionNode, document: DocumentNode): FieldNode[] => {
  const within = ({ selections }: SelectionSetNode): FieldNode[] =>
    selections.flatMap((selection) =>
      selection.kind === Kind.FIELD ? [selection] : within(innerOf(selection, document)),
    )
  return within(selectionSet)
}

/** The document with only those root fields in the operation that are answered under these names; its text stays the same. */
export const withRootFields = (
  names: string[],
  operation: OperationDefinitionNode,
  document: DocumentNode,
): DocumentNode => {
  const among = (set: SelectionSetNode): SelectionSetNode => ({
    ...set,
    selections: set.selections.flatMap((selection): SelectionNode[] => {
      if (selection.kind === Kind.FIELD) return names.includes(answeredUnder(selection)) ? [selection] : []
      const { directives = [] } = selection
      return [{ kind: Kind.INLINE_FRAGMENT, directives, selectionSet: among(innerOf(selection, document)) }]
    }),
  })
  const kept = { ...operation, selectionSet: among(operation.selectionSet) }
  return {
    ...document,
    definitions: document.definitions.map((definition) => (definition === operation ? kept : definition)),
  }
}
