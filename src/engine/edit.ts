// Changes title, note, tags or project of an entry. The new snapshot names the entry as its original, so that id and
// number stay.
import { VmlError } from '../base/failure.ts'
import {
  entryName,
  importedTag,
  joinDescription,
  type LoggedEntry,
  lostTag,
  ownTags,
  revisionOf,
} from './entries.ts'
import type { OpenLogbook } from './entries.ts'
import { requireProven } from './proven-entries.ts'
import type { Snapshot } from '../model/entry.ts'

export interface EntryChanges {
  readonly title?: string | undefined
  readonly note?: string | undefined
  /** Empty: of no project. */
  readonly project?: string | undefined
  readonly addTags: readonly string[]
  readonly removeTags: readonly string[]
}

export interface EditPlan {
  readonly entry: LoggedEntry
  readonly title: string
  readonly note: string
  readonly project: string | undefined
  readonly tags: readonly string[]
  /** False where the entry is so already. */
  readonly changes: boolean
}

export function planEdit(entry: LoggedEntry, changes: EntryChanges): EditPlan {
  for (const tag of [...changes.addTags, ...changes.removeTags]) requireTag(tag)
  if (entry.kind === 'foreign')
    throw new VmlError('unsupported', `Cannot edit ${entryName(entry)}: another program wrote it`, {
      hint: 'Use that program, for example restic tag',
    })
  const tags = [...new Set([...entry.tags, ...changes.addTags])].filter(
    (tag) => !changes.removeTags.includes(tag),
  )
  const title = changes.title ?? entry.title
  if (/[\n\r]/.test(title))
    throw new VmlError('usage', 'Cannot take a title of several lines', { hint: 'Put the rest into --note' })
  const note = changes.note ?? entry.note
  const project = changes.project === undefined ? entry.project : changes.project || undefined
  return {
    entry,
    title,
    note,
    project,
    tags,
    changes:
      title !== entry.title ||
      note !== entry.note ||
      project !== entry.project ||
      tags.join('\0') !== entry.tags.join('\0'),
  }
}

/**
 * Writes the new snapshot, then removes the old one, under one exclusive lock as restic's `tag` does. Cut off between
 * the two, both stand for the entry and the one of the higher revision counts.
 */
export async function runEdit(logbook: OpenLogbook, plan: EditPlan, signal?: AbortSignal): Promise<Snapshot> {
  const { repository, catalog } = logbook
  const { entry } = plan
  if (entry.kind === 'foreign') throw new TypeError('A foreign snapshot reached runEdit')
  await using writer = await repository.beginWrite({ signal, lock: 'exclusive' })
  // Read under the lock: the catalogue may be older than another program's edit, or wrong.
  await requireProven(logbook, [entry], { signal, damaged: 'fail' })
  const { id: old, ...fields } = await repository.readSnapshot(entry.snapshot.id, { signal })
  const written = await writer.commit(
    {
      ...fields,
      original: asOriginal(entry),
      tags: [
        ...ownTags({
          number: entry.number,
          kind: entry.kind,
          project: plan.project,
          revision: nextRevision(entry),
        }),
        ...fields.tags.filter((tag) => marks.has(tag)),
        ...plan.tags,
      ],
      description: joinDescription(plan),
    },
    { signal },
  )
  // No signal from here on: the entry is written, and its old form goes with it.
  for (const id of [old, ...entry.twins]) await repository.removeSnapshot(id)
  catalog.put([{ snapshot: written, facts: entry.facts }])
  catalog.remove([old, ...entry.twins])
  return written
}

/** What was found out of an entry, and no edit changes: that it is somebody else's, and that damage took from it. */
const marks: ReadonlySet<string> = new Set([importedTag, lostTag])

/** Comma separates tags for restic, and `vml:` is VML's own. */
export function requireTag(tag: string): void {
  if (
    tag !== '' &&
    !tag.startsWith('vml:') &&
    !/[,\p{C}]/u.test(tag) &&
    tag.trim() === tag &&
    tag.length <= 256
  )
    return
  throw new VmlError('usage', `Cannot take ${JSON.stringify(tag)} as a tag`, {
    hint: 'A tag is not empty, has no comma and no control character, and does not begin with "vml:"',
  })
}

function nextRevision(entry: LoggedEntry): number {
  return revisionOf(entry.snapshot) + 1
}

/** An entry's id is the id of its first snapshot. */
function asOriginal(entry: LoggedEntry): Snapshot['id'] {
  return entry.snapshot.original ?? entry.snapshot.id
}
