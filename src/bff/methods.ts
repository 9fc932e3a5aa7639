type Route = { method: string; path: string }

const matches = (template: string): RegExp => new RegExp(`^${template.replaceAll(/:\w+(\{[^}]*\})?/g, '[^/]+')}$`)

/** Tells which methods a path takes, by the routes; middleware is no route. */
export const createMethods = (routes: Route[]): ((path: string) => string[]) => {
  const known = routes
    .filter(({ method, path }) => method !== 'ALL' && !path.endsWith('*'))
    .map(({ method, path }) => ({ method, pattern: matches(path) }))
  return (path) => {
    const found = new Set(known.filter(({ pattern }) => pattern.test(path)).map(({ method }) => method))
    if (found.has('GET')) found.add('HEAD')
    return [...found].toSorted()
  }
}
