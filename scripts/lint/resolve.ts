import { isBuiltin } from 'node:module'
import { posix } from 'node:path'

/** What the check needs to know of package.json and of the tree; paths are relative to the root, with `/`. */
export type Project = {
  files: ReadonlySet<string>
  imports: Record<string, string>
  dependencies: ReadonlySet<string>
  devDependencies: ReadonlySet<string>
  jsxImportSource: string
}

/** `name` is undefined for what Bun and Node bring along. */
export type PackageTarget = { kind: 'package'; specifier: string; name: string | undefined }

export type Target =
  | { kind: 'file'; path: string; by: 'name' | 'path' }
  | PackageTarget
  | { kind: 'absolute' }
  | { kind: 'no-door' }

/** The file a relative path means: as it stands, with an extension left out or in its JavaScript spelling, or a folder. */
const fileAt = (path: string, files: ReadonlySet<string>) => {
  const stem = path.replace(/\.([cm]?)js(x?)$/, '')
  const candidates = [path, `${path}.ts`, `${path}.tsx`, `${stem}.ts`, `${stem}.tsx`, `${path}/index.ts`]
  return candidates.find((candidate) => files.has(candidate)) ?? path
}

/**
 * A name of package.json#imports. A star inside the target is one segment: Bun would let `#modules/users/commands`
 * through to `modules/users/commands/index.ts`, which is no door.
 */
const fileNamed = (specifier: string, imports: Record<string, string>) => {
  for (const [pattern, target] of Object.entries(imports)) {
    const prefix = pattern.replace('*', '')
    const star = specifier.slice(prefix.length)
    const allowed = target.includes('/*/') ? /^[a-z][\w-]*$/ : /^[a-z][\w-]*(?:\/[a-z][\w-]*)*$/
    if (specifier.startsWith(prefix) && allowed.test(star)) return posix.normalize(target.replace('*', star))
  }
  return undefined
}

const packageAt = (specifier: string): PackageTarget => {
  const parts = specifier.split('/').slice(0, specifier.startsWith('@') ? 2 : 1)
  return { kind: 'package', specifier, name: parts.join('/') }
}

/** What `specifier` means in the file `from`. */
export const resolve = (from: string, specifier: string, project: Project): Target => {
  if (specifier.startsWith('#')) {
    const path = fileNamed(specifier, project.imports)
    return path === undefined ? { kind: 'no-door' } : { kind: 'file', path, by: 'name' }
  }
  if (/^\.\.?(?:\/|$)/.test(specifier)) {
    const path = posix.join(posix.dirname(from), specifier.replace(/[?#].*$/, '')).replace(/\/$/, '')
    const inPackages = path.split('node_modules/').at(-1)
    if (inPackages !== undefined && inPackages !== path) return packageAt(inPackages)
    return { kind: 'file', path: fileAt(path, project.files), by: 'path' }
  }
  if (specifier === 'bun' || specifier.startsWith('bun:') || isBuiltin(specifier))
    return { kind: 'package', specifier, name: undefined }
  if (/^(?:\/|\\|~|[a-z]+:)/i.test(specifier)) return { kind: 'absolute' }
  return packageAt(specifier)
}
