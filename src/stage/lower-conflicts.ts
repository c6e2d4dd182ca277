// Finds out what was changed below a stage while it was open: the commit would undo that without having seen it.
import type { RawPath } from '../model/raw-path.ts'
import type { Fingerprint, PathChange } from '../model/transaction.ts'
import { typeOf } from './fingerprint.ts'
import { entryOf, inodeKey, type IndexEntry, type RootIndex } from './root-index.ts'

/**
 * Paths of a change set of which the lower thing was another one when the stage was opened. Of folders only what they are counts, not what lies in them:
 * that has paths of its own. What changes after the change set was read is found by the commit, which looks at each `before`.
 */
export function lowerConflicts(
  { changes, linked }: { readonly changes: readonly PathChange[]; readonly linked: ReadonlySet<string> },
  indexAtBegin: RootIndex,
): RawPath[] {
  return changes.flatMap(({ path, before }) =>
    isUnchanged(entryOf(indexAtBegin, path), before, linked) ? [] : [path],
  )
}

function isUnchanged(
  then: IndexEntry | undefined,
  now: Fingerprint | undefined,
  linked: ReadonlySet<string>,
): boolean {
  if (then === undefined || now === undefined) return then === now
  const sameThing =
    then.inode === now.inode &&
    typeOf(then.mode) === now.type &&
    (then.mode & 0o7777) === now.mode &&
    then.uid === now.uid &&
    then.gid === now.gid
  if (now.type === 'dir') return sameThing
  return (
    sameThing &&
    then.mtimeNs === now.mtimeNs &&
    (now.type !== 'file' || then.size === now.size) &&
    // We ourselves gave it one more name: its ctime says nothing any more.
    (then.ctimeNs === now.ctimeNs || linked.has(inodeKey(then)))
  )
}
