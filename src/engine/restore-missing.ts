// What an entry does not have of what is restored, and knows of: what damage took from it, and what its save could not read.
import { printable } from '../base/raw-text.ts'
import type { EntryDocument } from '../model/entry.ts'
import { isWithin, nearestOf, type RawPath } from '../model/raw-path.ts'
import { isDamage } from '../store/damage.ts'
import type { Repository } from '../store/store.ts'
import { type LoggedEntry, readVmlFile } from './entries.ts'
import { rawPathOf } from './protection.ts'
import type { DamagedPath } from './restore-damage.ts'
import { vmlPath } from './vml-path.ts'

export const missingReasons = {
  lost: 'lost to damage in the logbook',
  unreadable: 'could not be read when it was saved',
} as const

export type MissingReason = keyof typeof missingReasons

/** By its path on the entry's machine: it, and everything below it, may be there and is not in the entry. */
export interface MissingPath {
  readonly path: RawPath
  readonly why: MissingReason
}

export type MissingPaths = ReadonlyMap<RawPath, MissingReason>

/** A repair writes what it lost into the entry's document too; where it found none, `lost.json` alone has it. */
export async function readMissing(
  repository: Repository,
  {
    entry,
    document,
    unread,
  }: {
    readonly entry: LoggedEntry
    readonly document: EntryDocument | undefined
    /** The entry has a document that cannot be read: whoever restores tells of it. */
    readonly unread?: DamagedPath | undefined
  },
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<MissingPaths> {
  const missing = new Map<RawPath, MissingReason>()
  const add = (raw: string, why: MissingReason) => {
    const path = rawPathOf(raw)
    if (path !== undefined && !isWithin(path, vmlPath)) missing.set(path, why)
  }
  for (const { raw, problem } of document?.problems ?? [])
    if (problem === 'unreadable' || problem === 'dead-mount') add(raw, 'unreadable')
  try {
    const bytes = await readVmlFile(repository, entry.snapshot, 'lost.json', options)
    if (!bytes) return missing
    const { parseLost } = await import('../model/lost.ts')
    for (const { raw } of parseLost(bytes)) add(raw, 'lost')
  } catch (error) {
    // Without a document nobody else knows; with one, all are named there, some with the wrong reason.
    if ((!document && !unread) || !isDamage(error)) throw error
  }
  return missing
}

/** Of these: all where no path was named, or what lies at or below the named ones. */
export function missingWithin(
  missing: MissingPaths,
  { paths, without }: { readonly paths: readonly RawPath[]; readonly without: readonly RawPath[] },
): readonly MissingPath[] {
  return [...missing]
    .filter(([path]) => paths.length === 0 || paths.some((each) => isWithin(path, each)))
    .filter(([path]) => !without.some((each) => isWithin(path, each)))
    .map(([path, why]) => ({ path, why }))
    .sort((left, right) => (left.path < right.path ? -1 : 1))
}

/** Why a path, or a folder above it, is not in the entry. */
export function missingAt(missing: MissingPaths, path: RawPath): MissingReason | undefined {
  return nearestOf(path, missing)
}

export function missingFacts(missing: readonly MissingPath[]) {
  return missing.map(({ path, why }) => ({ path: printable(path), why }))
}
