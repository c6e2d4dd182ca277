// What of an entry can still be restored, and what damage took from it, in words.
import { lostTotals } from '../engine/entries.ts'
import type { LostTotals } from '../catalog/catalog.ts'
import type { EntryStatistics } from '../model/entry.ts'
import type { LostPath } from '../model/lost.ts'
import { formatBytes, plural } from './format.ts'

interface Restorable {
  readonly files: string
  readonly bytes: string
}

/** Of a lost folder nobody knows any more what was in it: then what is left is told as a bound. */
export function restorableOf(statistics: EntryStatistics, lost: LostTotals | undefined): Restorable {
  const files = Math.max(0, statistics.files - (lost?.files ?? 0))
  const bytes = Math.max(0, statistics.bytes - (lost?.bytes ?? 0))
  const bound = lost?.folders ? 'at most ' : ''
  return { files: `${bound}${plural(files, 'file')}`, bytes: `${bound}${formatBytes(bytes)}` }
}

/** `1 file, 28.6 MiB`, `2 folders with all that was in them`; undefined where nothing of the machine was lost. */
export function describeLost({ files, folders, bytes }: LostTotals): string | undefined {
  const parts = [
    folders > 0 ? `${plural(folders, 'folder')} with all that was in ${folders === 1 ? 'it' : 'them'}` : '',
    files > 0 ? `${plural(files, 'file')}, ${formatBytes(bytes)}` : '',
  ].filter((part) => part !== '')
  return parts.length === 0 ? undefined : parts.join('; ')
}

/** Why an entry is partial, as far as damage is why; undefined where it took nothing. */
export function lostOutcome(lost: readonly LostPath[]): string | undefined {
  if (lost.length === 0) return undefined
  const what = describeLost(lostTotals(lost))
  return what === undefined ? "some of VML's own documents lost to damage" : `${what}, lost to damage`
}

/** A lost path with what became of it: how much is gone, and where the rest is. */
export function lostLine({ path, type, size = 0, rest, missing }: LostPath): string {
  if (type === 'folder') return `${path}  with all that was in it`
  if (rest === undefined || missing === undefined) return `${path}  ${formatBytes(size)}`
  const gone = missing.reduce((sum, { length }) => sum + length, 0)
  return `${path}  ${formatBytes(gone)} of ${formatBytes(size)} gone; the rest is /.vml/lost/${rest}`
}
