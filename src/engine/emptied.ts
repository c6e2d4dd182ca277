// Says where a save found nothing at all of what the entry before it had: a file system that is not mounted looks like that.
import type { Reporter } from '../base/progress.ts'
import type { EntryDocument } from '../model/entry.ts'
import { entryName } from './entries.ts'
import type { SaveBase } from './save.ts'

/** The entry is made all the same, since whoever emptied a folder wants that known; the one before it stays what it is. */
export function warnOfEmptied(
  base: SaveBase | undefined,
  { roots, statistics }: Pick<EntryDocument, 'roots' | 'statistics'>,
  reporter: Reporter,
): void {
  const before = base?.document.statistics.files ?? 0
  if (!base || before === 0 || statistics.files > 0 || !sameRoots(base.document, { roots })) return
  const [first] = roots
  const more = roots.length > 1 ? ` and ${roots.length - 1} more` : ''
  reporter.warn({
    warning: `No file was found in ${first?.path ?? '/'}${more}, and ${entryName(base.entry)} had ${before} there: if a file system is not mounted, mount it and save again`,
  })
}

function sameRoots(one: Pick<EntryDocument, 'roots'>, other: Pick<EntryDocument, 'roots'>): boolean {
  const there = new Set(one.roots.map(({ raw }) => raw))
  return other.roots.every(({ raw }) => there.has(raw))
}
