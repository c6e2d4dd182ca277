// What a restore asks of an entry's own documents. Where damage took the first of them, files are restored by what the snapshot says.
import { messageOf, VmlError } from '../base/failure.ts'
import type { Reporter } from '../base/progress.ts'
import type { RawText } from '../base/raw-text.ts'
import type { EntryDocument } from '../model/entry.ts'
import { isDamage } from '../store/damage.ts'
import type { Repository } from '../store/store.ts'
import { entryName, entryWord, type LoggedEntry, readEntryDocument, readVmlFile } from './entries.ts'
import type { DamagedPath } from './restore-damage.ts'
import { documentPath } from './vml-path.ts'

export interface RestoreDocuments {
  readonly entry: LoggedEntry
  /** Undefined for a snapshot of another program, and where it cannot be read. */
  readonly document: EntryDocument | undefined
  /** Its document, where damage keeps it from being read: a restore goes on, and is not whole. */
  readonly unread: DamagedPath | undefined
  /** Where they were asked for, and the entry has any. */
  readonly variables: ReadonlyMap<RawText, RawText> | undefined
}

/** Warns where the document is damaged. Variables that are asked for and cannot be read are a failure. */
export async function readForRestore(
  repository: Repository,
  entry: LoggedEntry,
  options: {
    readonly variables: boolean
    readonly reporter: Reporter
    readonly signal?: AbortSignal | undefined
  },
): Promise<RestoreDocuments> {
  const { reporter, signal } = options
  let document: EntryDocument | undefined
  let unread: DamagedPath | undefined
  try {
    document = await readEntryDocument(repository, entry.snapshot, { signal })
  } catch (error) {
    if (!isDamage(error)) throw error
    unread = { path: documentPath, type: 'file', why: messageOf(error) }
    reporter.warn({
      warning: `Cannot read the document of ${entryName(entry)}, ${documentPath}: ${messageOf(error)}; going on with what its snapshot says`,
    })
  }
  const bytes = options.variables
    ? await readVmlFile(repository, entry.snapshot, 'environment.json', { signal })
    : undefined
  if (!bytes) return { entry, document, unread, variables: undefined }
  const { parseEnvironment } = await import('../model/documents.ts')
  return { entry, document, unread, variables: parseEnvironment(bytes) }
}

/** What nobody can do who does not know what the document says: `integrity.hash`, before anything is changed. */
export function requireDocument({ entry, unread }: RestoreDocuments, what: string): void {
  if (!unread) return
  throw new VmlError(
    'integrity.hash',
    `Cannot ${what}: the document of ${entryName(entry)} says how, and cannot be read`,
    {
      details: { path: unread.path, why: unread.why },
      hint: `Nothing was changed. Its files can be had without: vml restore ${entryWord(entry)} --to DIR. What is damaged tells vml check --read-data`,
    },
  )
}
