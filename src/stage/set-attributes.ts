// Rights, owner and attributes of a thing that stays itself, and whether they are still those of the commit.
import type { RawText } from '../base/raw-text.ts'
import type { NodeType } from '../model/tree.ts'
import type { FileStatus } from '../wire/libc.ts'
import { type CommitDisk, modeBits } from './commit-disk.ts'
import { overlayPrefix, typeOf } from './fingerprint.ts'
import type { AttributeState, AttributeStep } from './journal.ts'

/** A second time, after a first one that was cut off anywhere, it does the rest. */
export function setAttributes(
  disk: CommitDisk,
  live: RawText,
  type: NodeType,
  { mode, uid, gid, xattrs }: AttributeState,
  from: AttributeState,
): void {
  const now = disk.look(live)
  // Only what is not so: a thing that refuses changes must not refuse that it stays as it is.
  if (now === undefined || now.uid !== uid || now.gid !== gid) disk.setOwner(live, { uid, gid })
  // After the owner: a new one takes capabilities away.
  if (xattrs !== undefined) {
    const has = valuesOf(disk.readXattrs(live))
    const wanted = valuesOf(xattrs)
    const had = valuesOf(from.xattrs ?? [])
    for (const name of has.keys())
      if (!wanted.has(name) && (!isMark(name) || had.has(name))) disk.removeXattr(live, name)
    for (const [name, value] of wanted)
      if (!isValue(has.get(name), value)) disk.setXattr(live, { name, value })
  }
  if (type === 'symlink') return
  // Last: an ACL changes the rights of the group, and a new owner takes the bits of setuid away.
  const then = disk.look(live)
  if (then === undefined || (then.mode & modeBits) !== mode) disk.setMode(live, mode)
}

/** What it had, what it gets, or what a step that was cut off left between both. Else somebody has changed it since. */
export function isOwnState(
  disk: Pick<CommitDisk, 'readXattrs'>,
  live: RawText,
  now: FileStatus,
  { type, before, after }: Pick<AttributeStep, 'type' | 'before' | 'after'>,
): boolean {
  if (typeOf(now.mode) !== type) return false
  if (now.uid !== before.uid && now.uid !== after.uid) return false
  if (now.gid !== before.gid && now.gid !== after.gid) return false
  if (type !== 'symlink' && !ownModes(before, after).includes(now.mode & modeBits)) return false
  if (before.xattrs === undefined || after.xattrs === undefined) return true
  const [has, had, gets] = [disk.readXattrs(live), before.xattrs, after.xattrs].map(valuesOf)
  return [...new Set([...(has?.keys() ?? []), ...(had?.keys() ?? []), ...(gets?.keys() ?? [])])].every(
    (name) => {
      const value = comparable(name, has?.get(name))
      const isLost = value === undefined && name === capabilities && hasOtherOwner(before, after)
      return (
        isLost ||
        isMark(name) ||
        [had, gets].some((side) => isValue(comparable(name, side?.get(name)), value))
      )
    },
  )
}

function hasOtherOwner(one: AttributeState, other: AttributeState): boolean {
  return one.uid !== other.uid || one.gid !== other.gid
}

/** Of an overlay whose layer the thing is a part of: no commit's. */
function isMark(name: string): boolean {
  return name.startsWith(overlayPrefix)
}

/** What chmod changes of an ACL are rights, which are compared themselves. */
function comparable(name: string, value: Uint8Array | undefined): Uint8Array | undefined {
  if (value === undefined || name !== accessList) return value
  const list = Buffer.from(value)
  for (let at = aclHeadBytes; at + aclEntryBytes <= list.length; at += aclEntryBytes)
    if (aclTagsOfModes.has(list.readUInt16LE(at))) list.writeUInt16LE(0, at + 2)
  return list
}

/** A version, then entries of a tag, rights and a number (posix_acl_xattr.h of Linux). */
const accessList = 'system.posix_acl_access'
const aclHeadBytes = 4
const aclEntryBytes = 8
/** The owner, the mask and others. */
const aclTagsOfModes: ReadonlySet<number> = new Set([0x01, 0x10, 0x20])
const capabilities = 'security.capability'
const rightBits = 0o777

/** A new owner takes the bits of setuid and setgid away until the rights are set again; an ACL sets the rights alone. */
export function ownModes(before: AttributeState, after: AttributeState): readonly number[] {
  const special = (before.mode | after.mode) & ~rightBits
  const found = new Set<number>()
  for (const { mode } of [before, after])
    for (let taken = special; ; taken = (taken - 1) & special) {
      found.add((mode & rightBits) | taken)
      if (taken === 0) break
    }
  return [...found]
}

function valuesOf(xattrs: NonNullable<AttributeState['xattrs']>): ReadonlyMap<RawText, Uint8Array> {
  return new Map(xattrs.map(({ name, value }) => [name, value]))
}

function isValue(one: Uint8Array | undefined, other: Uint8Array | undefined): boolean {
  return one === undefined || other === undefined ? one === other : Buffer.compare(one, other) === 0
}
