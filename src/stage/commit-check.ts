// Right before a commit: is everything that it is about to change still what it was? Else it stays, all of it.
import { createHash } from 'node:crypto'
import { closeSync, constants, openSync, readlinkSync, readSync } from 'node:fs'
import { VmlError } from '../base/failure.ts'
import { asRaw, printable, type RawText, rawFromBytes, rawToBytes } from '../base/raw-text.ts'
import { parentPath, type RawPath } from '../model/raw-path.ts'
import { type Fingerprint, type PathChange, sameState } from '../model/transaction.ts'
import type { FileStatus } from '../wire/libc.ts'
import type { CommitDisk } from './commit-disk.ts'
import { fits } from './commit-plan.ts'
import { isOverlayMark } from './fingerprint.ts'
import { changedMeanwhile } from './commit-step.ts'
import { below } from './journal.ts'

const readBytes = 1024 * 1024

/**
 * Fails with `conflict` at the first path that is no longer what its change says it was before; else tells what stands there. A file of `stays` must be the same
 * one, with the same rights: what is in it may change.
 */
export function checkLive(
  disk: CommitDisk,
  root: RawText,
  changes: readonly PathChange[],
  stays: ReadonlySet<RawPath>,
): ReadonlyMap<RawPath, FileStatus> {
  const found = new Map<RawPath, FileStatus>()
  const before = new Set<RawPath>()
  for (const change of changes) if (change.before) before.add(change.path)
  /** Folders that go with all that is in them, and the mount that each lies on. */
  const goes = new Map<RawPath, bigint>()
  const comes = new Set<RawPath>()
  const scratch = Buffer.allocUnsafe(readBytes)
  for (const { path, before: state, after } of changes) {
    const live = below(root, path)
    const parent = parentPath(path)
    if (after?.type === 'dir' && state?.type !== 'dir') comes.add(path)
    if (state === undefined) {
      // In a folder that is itself new nothing can stand; and its name may lead elsewhere now.
      if (!comes.has(parent) && disk.look(live)) throw changedMeanwhile(live)
      continue
    }
    const status = disk.look(live)
    if (!status || !isStill(disk, { live, state, status, scratch, mayBeWritten: stays.has(path) }))
      throw changedMeanwhile(live)
    found.set(path, status)
    const mount = goes.get(parent)
    if (mount !== undefined && mount !== status.mountId)
      throw new VmlError(
        'conflict',
        `Cannot commit: a file system is mounted on "${printable(live)}", which would go`,
        {
          hint: 'Unmount it, and repeat',
        },
      )
    if (state.type !== 'dir' || after?.type === 'dir') continue
    goes.set(path, status.mountId)
    for (const name of disk.list(live)) {
      const inside = asRaw(`${path}/${name}`)
      if (!isIn(before, inside)) throw changedMeanwhile(below(root, inside))
    }
  }
  return found
}

function isIn(paths: ReadonlySet<string>, path: RawText): boolean {
  return paths.has(path)
}

interface Look {
  readonly live: RawText
  readonly state: Fingerprint
  readonly status: FileStatus
  readonly scratch: Buffer
  readonly mayBeWritten: boolean
}

/** Times of folders change with what is in them. Where the numbers of a file differ, its content decides. */
function isStill(disk: CommitDisk, look: Look): boolean {
  const { live, status, scratch } = look
  const isWritable = look.mayBeWritten && look.state.inode === status.inode
  const state = isWritable ? withoutContent(look.state) : look.state
  if (!fits(state, status)) return false
  const { inode, ctimeNs, mtimeNs } = state
  if (inode === status.inode && ctimeNs === status.ctimeNs && mtimeNs === status.mtimeNs) return true
  if (!isWritable && state.type === 'file' && state.sha256 === undefined && mtimeNs !== status.mtimeNs)
    return false
  const named = new Set(state.xattrs?.map(({ name }) => name))
  const now: Fingerprint = {
    ...state,
    ...(state.sha256 === undefined ? {} : { sha256: digest(live, scratch) }),
    ...(state.linkTarget === undefined ? {} : { linkTarget: linkTarget(live) }),
    ...(state.xattrs === undefined
      ? {}
      : { xattrs: disk.readXattrs(live).filter(({ name }) => named.has(name) || !isOverlayMark(name)) }),
  }
  return sameState(state, now)
}

function withoutContent(state: Fingerprint): Fingerprint {
  const { size: _, sha256: __, ...rest } = state
  return rest
}

function linkTarget(path: RawText): RawText {
  return rawFromBytes(readlinkSync(rawToBytes(path), { encoding: 'buffer' }))
}

function digest(path: RawText, scratch: Buffer): string {
  const file = openSync(rawToBytes(path), constants.O_RDONLY | constants.O_NOFOLLOW)
  try {
    const hash = createHash('sha256')
    for (let length = readSync(file, scratch); length > 0; length = readSync(file, scratch))
      hash.update(scratch.subarray(0, length))
    return hash.digest('hex')
  } finally {
    closeSync(file)
  }
}
