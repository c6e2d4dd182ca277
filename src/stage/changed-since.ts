// Whether what a commit has put somewhere, or has kept, is still that: what somebody wrote there since is in no record, and must not go with it.
import type { RawText } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import { ruleWhenChanged } from '../model/regeneration.ts'
import type { Fingerprint, PathChange } from '../model/transaction.ts'
import type { FileStatus } from '../wire/libc.ts'
import type { CommitDisk } from './commit-disk.ts'
import { typeOf } from './fingerprint.ts'
import { below, type Journal, type Stamp, type Stamps } from './journal.ts'

/**
 * Of every file and link that a commit is about to change, before anything is changed. What stands there counts rather than what the change says: it may have been touched
 * since. Files that programs make anew have none: another one is as good.
 */
export function stampsOf(
  disk: CommitDisk,
  { root, changes }: { readonly root: RawText; readonly changes: readonly PathChange[] },
): Map<RawPath, Stamps> {
  const stamps = new Map<RawPath, Stamps>()
  for (const { path, before, after } of changes) {
    if (isMadeAnew(path)) continue
    const live = hasStamp(before) ? disk.look(below(root, path)) : undefined
    const [was, is] = [live && stampOf(live), hasStamp(after) ? stampOf(after) : undefined]
    if (was || is) stamps.set(path, { ...(was ? { before: was } : {}), ...(is ? { after: is } : {}) })
  }
  return stamps
}

/** A cache that a program made anew since is nobody's writing. What a rule only leaves where it is, though it has its content kept, may be. */
export function isMadeAnew(path: RawPath): boolean {
  const rule = ruleWhenChanged(path)
  return rule !== undefined && (rule.path !== 'left' || !rule.keepsPreImage)
}

/** True also where the journal does not tell: an older VML has written it. */
export function isAs(
  side: 'before' | 'after',
  { stamps }: Pick<Journal, 'stamps'>,
  path: RawPath,
  status: FileStatus,
): boolean {
  const known = stamps?.get(path)
  const stamp = known?.[side]
  return stamp === undefined || isStamped(status, stamp)
}

/** Whether it may be what a commit created at a path where nothing stood. Files and links that it creates have a stamp: one without is another. */
export function isPut(journal: Pick<Journal, 'stamps'>, path: RawPath, status: FileStatus): boolean {
  const isStampless = journal.stamps !== undefined && journal.stamps.get(path)?.after === undefined
  if (isStampless && !isMadeAnew(path) && hasStamp({ type: typeOf(status.mode) })) return false
  return isAs('after', journal, path, status)
}

/** Neither what was there before nor what is there after it. */
export function isOther({ stamps }: Pick<Journal, 'stamps'>, path: RawPath, status: FileStatus): boolean {
  const known = stamps?.get(path)
  return (
    known !== undefined && ![known.before, known.after].some((stamp) => stamp && isStamped(status, stamp))
  )
}

function hasStamp<State extends Pick<Fingerprint, 'type'>>(state: State | undefined): state is State {
  return state?.type === 'file' || state?.type === 'symlink'
}

function stampOf({ size, mtimeNs }: Pick<Fingerprint, 'size' | 'mtimeNs'>): Stamp {
  return { mtimeNs, ...(size === undefined ? {} : { size }) }
}

function isStamped(status: FileStatus, { size, mtimeNs }: Stamp): boolean {
  return (size === undefined || status.size === size) && isSameTime(status.mtimeNs, mtimeNs)
}

const secondNs = 1_000_000_000n

/** A file system may keep whole seconds only (ext4 with small inodes). */
function isSameTime(onDisk: bigint, given: bigint): boolean {
  return onDisk === given || (onDisk % secondNs === 0n && onDisk / secondNs === given / secondNs)
}
