// Names that share a file which a stage wrote to, told by the index of its overlay alone: of a machine whose calls cannot be made from here.
import { VmlError } from '../base/failure.ts'
import { baseName, nearestOf, type RawPath } from '../model/raw-path.ts'
import { overlaysOf, type MountPlan, type StagedMount } from './mount-plan.ts'
import { linkedPaths, type RootIndex } from './root-index.ts'
import { isWhiteout, type Candidate, type Placed } from './upper-walk.ts'

/**
 * As `namesByIndex` of this host, which asks the kernel for the handle of each file; here the number of the inode is read from the handle, as ext4, xfs,
 * btrfs and tmpfs write it. Fails with `unsupported` for a handle of another kind. `seen`: paths that the upper folder says something of.
 */
export function namesByNumber(
  plan: MountPlan,
  overlay: StagedMount,
  look: {
    readonly index: RootIndex
    readonly copies: readonly Placed[]
    readonly lowerAt: (path: RawPath) => Placed | undefined
    readonly isSeen: (path: RawPath) => boolean
  },
): Candidate[] {
  const byInode = new Map<bigint, Placed>()
  for (const copy of look.copies) {
    // A whiteout stands for a file of which all names are gone.
    if (isWhiteout(copy.status)) continue
    const inode = inodeOf(baseName(copy.place))
    if (inode === 'working') continue
    if (inode === undefined)
      throw new VmlError(
        'unsupported',
        `Cannot tell which files changed on ${overlay.type}: one with several names was written to`,
        { hint: 'Nothing was changed' },
      )
    byInode.set(inode, copy)
  }
  if (byInode.size === 0) return []
  const mounts = new Map(overlaysOf(plan).map((each) => [each.path, each]))
  const found: Candidate[] = []
  for (const names of linkedPaths(look.index).values())
    for (const path of names) {
      if (nearestOf(path, mounts) !== overlay || look.isSeen(path)) continue
      const lower = look.lowerAt(path)
      const upper = lower && byInode.get(lower.status.inode)
      if (lower && upper) found.push({ path, lower, upper })
    }
  return found
}

/**
 * `struct ovl_fb` of the kernel in hex: version 0, magic 0xfb, length, flags, type of the handle, 16 bytes for the file system, the handle (exportfs.h, "enum
 * fid_type"): 1 begins with 32 bits of the inode (ext4, xfs), 0x81 with 64 (xfs), 0x4d to 0x4f with 64 (btrfs). Names in use only while it works begin with `#`.
 */
function inodeOf(name: string): bigint | 'working' | undefined {
  if (name.startsWith('#')) return 'working'
  const [, type = '', handle = ''] =
    /^00fb[0-9a-f]{4}([0-9a-f]{2})[0-9a-f]{32}((?:[0-9a-f]{2})+)$/.exec(name) ?? []
  const bytes = Buffer.from(handle, 'hex')
  const kind = Number.parseInt(type, 16)
  if (kind === 1 && bytes.length >= 8) return BigInt(bytes.readUInt32LE(0))
  if ((kind === 0x81 || (kind >= 0x4d && kind <= 0x4f)) && bytes.length >= 8) return bytes.readBigUInt64LE(0)
  return undefined
}
