// Files that a transaction has moved while a program has them open for writing: a mv in a stage is a copy and a removal, and the program goes on in what was removed.
import { type Fingerprint, type PathChange, sameState } from '../model/transaction.ts'
import { baseName, type RawPath } from '../model/raw-path.ts'
import { isMadeAnew } from './changed-since.ts'
import type { CommitDisk } from './commit-disk.ts'
import { type CommitRequest, fits } from './commit-plan.ts'
import { isOverlayMark } from './fingerprint.ts'
import { below } from './journal.ts'
import { openFiles, type OpenFiles } from './open-writers.ts'

/**
 * Which removed path each created one is the same as, in all that is known of it; of several that are the same, by the last part of the name. The created one may then be given the file
 * itself instead of its copy, if it is on the same file system.
 */
export function movedWhileOpen(
  disk: CommitDisk,
  { root, changes, prepared }: Pick<CommitRequest, 'root' | 'changes' | 'prepared'>,
): ReadonlyMap<RawPath, RawPath> {
  const moved = new Map<RawPath, RawPath>()
  let filesLeft = openFilesMax
  let opened: OpenFiles | undefined
  for (const [removed, created] of sameContents(changes)) {
    if (!removed.before || !created.after || !sameState(removed.before, created.after)) continue
    const live = below(root, removed.path)
    const [old, copy] = [disk.look(live), disk.look(prepared(created.path))]
    if (old?.links !== 1 || copy?.links !== 1) continue
    if (!fits(removed.before, old) || old.mtimeNs !== removed.before.mtimeNs) continue
    opened ??= openFiles(() => filesLeft-- > 0)
    if (opened.of(baseName(removed.path), old).length === 0) continue
    if (!disk.listXattrs(live).some(isOverlayMark)) moved.set(created.path, removed.path)
  }
  return moved
}

/** About a second. Of others it is told after the commit that they are open. */
const openFilesMax = 50_000

/** Removed and created. */
function* sameContents(changes: readonly PathChange[]): Generator<readonly [PathChange, PathChange]> {
  const gone = byContent(changes, ({ before, after }) => (after === undefined ? before : undefined))
  if (gone.size === 0) return
  const come = byContent(changes, ({ before, after }) => (before === undefined ? after : undefined))
  for (const [content, created] of come) {
    const removed = gone.get(content) ?? []
    const left = [new Set(removed), new Set(created)] as const
    const [goneNames, comeNames] = [byName(removed), byName(created)]
    for (const [name, [old, ...others]] of goneNames) {
      const [now, ...more] = comeNames.get(name) ?? []
      if (!old || !now || others.length + more.length > 0) continue
      left[0].delete(old)
      left[1].delete(now)
      yield [old, now]
    }
    const [[old, ...others], [now, ...more]] = [[...left[0]], [...left[1]]]
    if (old && now && others.length + more.length === 0) yield [old, now]
  }
}

function byName(changes: readonly PathChange[]): ReadonlyMap<string, readonly PathChange[]> {
  return Map.groupBy(changes, ({ path }): string => baseName(path))
}

function byContent(
  changes: readonly PathChange[],
  stateOf: (change: PathChange) => Fingerprint | undefined,
): ReadonlyMap<string, readonly PathChange[]> {
  const found = new Map<string, PathChange[]>()
  for (const change of changes) {
    const state = stateOf(change)
    if (state?.type !== 'file' || state.sha256 === undefined || isMadeAnew(change.path)) continue
    const content = `${state.sha256} ${state.mtimeNs}`
    const others = found.get(content)
    if (others) others.push(change)
    else found.set(content, [change])
  }
  return found
}
