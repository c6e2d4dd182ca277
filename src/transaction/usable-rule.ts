// Whether a rule can stand for a pre-image on this machine: it can where the program that makes the file anew is there, or comes back with the undo.
import { asRaw, rawToBytes } from '../base/raw-text.ts'
import { statSync } from 'node:fs'
import { packageDatabaseRule, regenerations, ruleOf } from '../model/regeneration.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { PathChange } from '../model/transaction.ts'
import type { PackagesNow } from './packages-now.ts'
import { inRoot, type Workplace } from './workplace.ts'

const programFolders = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']

/** Names of rules, for the paths of these changes. Without its program a rule is a promise that nobody keeps: then the content is kept. */
export function usableRules(
  place: Pick<Workplace, 'root'>,
  changes: readonly PathChange[],
  packages: PackagesNow = [],
): (path: RawPath) => string | undefined {
  const was = new Set<string>()
  for (const { path, before } of changes) if (before !== undefined) was.add(path)
  const known = new Map<string, boolean>()
  const isThere = (program: string): boolean => {
    const before = known.get(program)
    if (before !== undefined) return before
    const places = program.startsWith('/')
      ? [program]
      : programFolders.map((folder) => `${folder}/${program}`)
    const found = places.some((path) => was.has(path) || isFile(place, path))
    known.set(program, found)
    return found
  }
  return (path) => {
    const rule = ruleOf(path)
    // Without its system it is a file as any other.
    if (rule?.name === packageDatabaseRule && !packages.some(({ manager }) => manager === 'rpm'))
      return undefined
    if (rule?.path !== 'made') return rule?.name
    const makers = regenerations([{ path, present: true, wanted: true }])
    const own = makers.find((maker) => maker.rule === rule.name)
    if (own?.required !== true) return rule.name
    const [program] = own.argv
    return program !== undefined && isThere(program) ? rule.name : undefined
  }
}

function isFile(place: Pick<Workplace, 'root'>, path: string): boolean {
  return (
    statSync(rawToBytes(inRoot(place, asRaw(path) as RawPath)), { throwIfNoEntry: false })?.isFile() === true
  )
}
