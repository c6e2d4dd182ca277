// Whether a rule can stand for a pre-image on this machine: it can where all that makes the file anew is there, or comes back with the undo.
import { createHash } from 'node:crypto'
import { closeSync, constants, openSync, readSync, realpathSync } from 'node:fs'
import { asRaw, rawFromBytes, rawToBytes } from '../base/raw-text.ts'
import {
  packageDatabaseRule,
  type RegenerationRule,
  ruleOf,
  ruleWhenChanged,
  servesAt,
} from '../model/regeneration.ts'
import { type RawPath, rootPath } from '../model/raw-path.ts'
import type { PathChange } from '../model/transaction.ts'
import type { PackagesNow } from './packages-now.ts'
import { inRoot, type Workplace } from './workplace.ts'

/** The rules that serve where this is there, and these package systems are. `always` serves in place of a pre-image, `whenChanged` where it was changed since, too. */
export function servingRules(
  isThere: (path: RawPath) => boolean,
  packages: PackagesNow,
): Record<'always' | 'whenChanged', (path: RawPath) => RegenerationRule | undefined> {
  const known = new Map<RawPath, boolean>()
  const isKnown = (path: RawPath): boolean => {
    const found = known.get(path) ?? isThere(path)
    known.set(path, found)
    return found
  }
  const serving = (rule: RegenerationRule | undefined, path: RawPath) => {
    // Without its system it is a file as any other.
    if (rule?.name === packageDatabaseRule && !packages.some(({ manager }) => manager === 'rpm'))
      return undefined
    return rule && servesAt(path, isKnown) ? rule : undefined
  }
  return {
    always: (path) => serving(ruleOf(path), path),
    whenChanged: (path) => serving(ruleWhenChanged(path), path),
  }
}

/** Names of rules, for these changes. Without what it needs a rule is a promise that nobody keeps: then the content is kept. */
export function usableRules(
  place: Pick<Workplace, 'root'>,
  changes: readonly PathChange[],
  packages: PackagesNow = [],
): (change: PathChange) => string | undefined {
  const was = new Map(changes.map(({ path, before }) => [path, before !== undefined]))
  // What came with the change goes with it.
  const stays = (path: RawPath): boolean => {
    const at = was.get(path) === true ? path : realPathOf(place, path)
    return at !== undefined && (was.get(at) ?? true)
  }
  const { always } = servingRules(stays, packages)
  return (change) => {
    const rule = always(change.path)
    return rule && standsIn(rule, change, () => hasGrown(place, change)) ? rule.name : undefined
  }
}

/** What nothing makes again is lost where it went, and of a log also where it is another one now. */
export function standsIn(
  { standsFor }: RegenerationRule,
  { before, after }: PathChange,
  beginsAsBefore: () => boolean,
): boolean {
  if (standsFor === 'any change') return true
  if (after?.type !== 'file') return false
  if (standsFor === 'rewriting') return true
  if ((after.size ?? 0) < (before?.size ?? 0)) return false
  // Where nothing is known but the length, there is nothing to be kept either.
  return before?.sha256 === undefined || beginsAsBefore()
}

/** Programs are asked for in folders that are links to each other. */
function realPathOf(place: Pick<Workplace, 'root'>, path: RawPath): RawPath | undefined {
  try {
    const real = rawFromBytes(realpathSync(rawToBytes(inRoot(place, path)), { encoding: 'buffer' }))
    return (place.root === rootPath ? real : asRaw(real.slice(place.root.length))) as RawPath
  } catch {
    return undefined
  }
}

const readBytes = 1024 * 1024

/** What was written at its end since does not matter. */
function hasGrown(place: Pick<Workplace, 'root'>, { path, before }: PathChange): boolean {
  const hash = createHash('sha256')
  const buffer = Buffer.alloc(readBytes)
  let left = before?.size ?? 0
  try {
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
    const file = openSync(rawToBytes(inRoot(place, path)), flags)
    try {
      while (left > 0) {
        const read = readSync(file, buffer, 0, Math.min(left, readBytes), null)
        if (read === 0) return false
        hash.update(buffer.subarray(0, read))
        left -= read
      }
    } finally {
      closeSync(file)
    }
  } catch {
    // It went since: then its content is kept.
    return false
  }
  return hash.digest('hex') === before?.sha256
}
