// Entries whose own document cannot be read though all that is stored of them is whole: another program cut it, say.
import type { SnapshotId } from '../model/ids.ts'
import { isDamage } from '../store/damage.ts'
import type { CheckFinding } from '../store/store.ts'
import { hasOwnTags, listEntries, type OpenLogbook } from './entries.ts'
import { documentPath } from './vml-path.ts'

export interface UnreadDocument {
  readonly snapshot: SnapshotId
  readonly message: string
}

/** The catalogue holds none of them, so that each is read anew. Where the log itself cannot be read, its damage is found elsewhere. */
export async function findUnread(
  logbook: OpenLogbook,
  signal: AbortSignal,
): Promise<readonly UnreadDocument[]> {
  const found: UnreadDocument[] = []
  try {
    await listEntries(logbook, {
      signal,
      onUnread: (snapshot, message) => {
        // In a snapshot of another program, a file of that name is nothing of ours.
        if (hasOwnTags(snapshot)) found.push({ snapshot: snapshot.id, message })
      },
    })
  } catch (error) {
    if (!isDamage(error)) throw error
  }
  return found
}

/** Without those of which the check found already that something of them is lost. */
export function unreadFindings(
  unread: readonly UnreadDocument[],
  found: readonly CheckFinding[],
): CheckFinding[] {
  const known = new Set(found.flatMap(({ affects }) => affects.map(({ snapshot }) => snapshot)))
  return unread
    .filter(({ snapshot }) => !known.has(snapshot))
    .map(({ snapshot, message }) => ({
      severity: 'damage',
      what: 'entry',
      id: snapshot,
      message,
      affects: [{ snapshot, paths: [documentPath] }],
    }))
}
