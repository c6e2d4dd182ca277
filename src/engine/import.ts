// `vml import`: entries of a share go into the own logbook, under the ids that they have.
import type { Reporter } from '../base/progress.ts'
import type { Snapshot } from '../model/entry.ts'
import type { Repository } from '../store/store.ts'
import { importedTag, type LoggedEntry } from './entries.ts'
import { openTreeCopier } from './tree-copier.ts'

export interface ImportRequest {
  readonly from: Repository
  readonly entries: readonly LoggedEntry[]
  readonly into: Repository
  /** Entries of the own logbook. */
  readonly present: readonly LoggedEntry[]
  readonly nextNumber: () => Promise<number>
  readonly reporter: Reporter
  readonly signal?: AbortSignal | undefined
}

export interface Imported {
  readonly entry: LoggedEntry
  readonly outcome: 'taken in' | 'already there'
  readonly number: number | undefined
  readonly snapshot: Snapshot | undefined
}

/** Each entry is committed when it is whole; one that is there already is left alone. A number that is taken here is given anew. */
export async function importEntries(request: ImportRequest): Promise<Imported[]> {
  const { from, into, reporter, signal } = request
  const present = new Map(request.present.map((entry) => [entry.id, entry]))
  const taken = new Set(request.present.flatMap(({ number }) => number ?? []))
  const imported: Imported[] = []
  const writer = await into.beginWrite({ signal })
  await using _closing = writer
  const copier = await openTreeCopier({ from, into, writer, reporter, signal })
  for (const entry of request.entries) {
    const known = present.get(entry.id)
    if (known) {
      imported.push({ entry, outcome: 'already there', number: known.number, snapshot: undefined })
      continue
    }
    await copier.copy(entry.snapshot.tree)
    const number =
      entry.number === undefined || taken.has(entry.number) ? await request.nextNumber() : entry.number
    taken.add(number)
    const { id: _id, parent: _parent, ...kept } = entry.snapshot
    const snapshot = await writer.commit(
      {
        ...kept,
        original: entry.snapshot.original ?? entry.snapshot.id,
        tags: [
          ...entry.snapshot.tags.filter((tag) => !/^vml:(n=|imported$)/.test(tag)),
          `vml:n=${number}`,
          importedTag,
        ],
      },
      { signal },
    )
    imported.push({ entry, outcome: 'taken in', number, snapshot })
  }
  return imported
}
