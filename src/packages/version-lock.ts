// What an entry of dnf's versionlock says of a package (dnf-versionlock(8)): `tool-0:1-1.*` as the plugin writes it, or a pattern of the administrator's.
import { matchesGlob } from 'node:path'
import type { PackageTransition } from '../model/transaction-record.ts'

type Changed = Pick<PackageTransition, 'name' | 'architecture' | 'from' | 'to'>

/** The plugin always writes the epoch, and patterns of versions for any architecture. */
const written = /^(.+)-\d+:[^-]+-[^-]+$/

/**
 * A lock lets only the versions that it names be installed: whichever they are, the package is to stay where it is. An entry with `!` bars
 * versions: it is about a change that would bring one of them.
 */
export function isLocked(entry: string, { name, architecture, from, to }: Changed): boolean {
  if (entry.startsWith('!')) return matchesAny(entry.slice(1), formsOf(name, architecture, to))
  const [, locked] = written.exec(entry) ?? []
  if (locked !== undefined) return matchesGlob(name, locked)
  return matchesAny(entry, [...formsOf(name, architecture, from), ...formsOf(name, architecture, to)])
}

/** The forms in which dnf takes a word for a package (dnf(8), "Specifying packages"). */
function formsOf(name: string, architecture: string, version: string | undefined): string[] {
  if (version === undefined) return [name, `${name}.${architecture}`]
  const plain = version.replace(/^\d+:/, '')
  const whole = plain === version ? `0:${version}` : version
  const withVersions = [plain, whole].flatMap((each) => [
    `${name}-${each}`,
    `${name}-${each.replace(/-[^-]+$/, '')}`,
  ])
  return [
    name,
    `${name}.${architecture}`,
    ...withVersions,
    ...withVersions.map((form) => `${form}.${architecture}`),
  ]
}

function matchesAny(pattern: string, forms: readonly string[]): boolean {
  return forms.some((form) => matchesGlob(form, pattern))
}
