// Whether a path is as it was when an entry recorded it: the one rule that lets a save pass a file over (design decision 5).
import type { EntryDocument, Fidelity } from '../model/entry.ts'
import type { Attributes, TreeNode } from '../model/tree.ts'
import type { CaptureBase } from './capture-run.ts'

/** The clock that stamps files ticks every 4 to 10 ms even where time is told in nanoseconds. */
export const clockTickNs = 20_000_000n
/** ext3, ext4 with small inodes and many servers stamp whole seconds, FAT every other one. */
const coarseTickNs = 2_000_000_000n
export const nsPerSecond = 1_000_000_000n

/**
 * Equal type, mode, owner, size, mtime, ctime and inode at the finest resolution that both scans had; and nothing that may have
 * changed in the same tick of the clock after the base looked at it.
 */
export function isUnchanged(
  node: TreeNode,
  now: Attributes,
  base: Pick<CaptureBase, 'scanStartedNs' | 'fidelity'>,
  fidelity: Fidelity,
): boolean {
  if (node.type !== now.type || node.mode !== now.mode || node.uid !== now.uid || node.gid !== now.gid)
    return false
  if (now.type === 'file' && node.size !== now.size) return false
  if (now.type === 'symlink' && now.linkTarget !== undefined && node.linkTarget !== now.linkTarget)
    return false
  if (node.device !== now.device && node.device !== undefined && now.device !== undefined) return false
  // A base that could not record what can be recorded now (no GNU tar then) is read again.
  if ((fidelity.xattrs && !base.fidelity.xattrs) || (fidelity.acls && !base.fidelity.acls)) return false
  if (node.ctimeNs === undefined || now.ctimeNs === undefined) return false
  if (node.inode === undefined || node.inode !== now.inode) return false
  const resolution = BigInt(Math.max(fidelity.timeResolutionNs, base.fidelity.timeResolutionNs, 1))
  if (!sameTime(node.mtimeNs, now.mtimeNs, resolution) || !sameTime(node.ctimeNs, now.ctimeNs, resolution))
    return false
  return isSettled(node.ctimeNs, base.scanStartedNs - resolution - clockTickNs)
}

/**
 * Whether a path of this ctime cannot have been changed again in the same tick after a scan saw it. The machine's tools
 * tell nanoseconds whatever the file system keeps: a stamp of a whole second is taken for one of a coarse file system.
 */
export function isSettled(ctimeNs: bigint, beforeNs: bigint): boolean {
  return ctimeNs < beforeNs - (ctimeNs % nsPerSecond === 0n ? coarseTickNs : 0n)
}

/** For `isSettled`: what a scan allows for, where the file system stamps as finely as the machine's tools tell. */
export function settledBefore(scan: EntryDocument['scan'], fidelity: Fidelity): bigint {
  return (
    BigInt(scan.startedNs) - BigInt(Math.max(scan.resolutionNs, fidelity.timeResolutionNs, 1)) - clockTickNs
  )
}

export function sameTime(left: bigint, right: bigint, resolutionNs: bigint): boolean {
  return resolutionNs <= 1n ? left === right : floorTo(left, resolutionNs) === floorTo(right, resolutionNs)
}

export function floorTo(time: bigint, resolution: bigint): bigint {
  const rest = time % resolution
  return rest < 0n ? time - rest - resolution : time - rest
}
