// Plans the mounts of a stage: which ones get an overlay, which are seen through, and where what is written comes to lie.
import { printable, rawFromString } from '../base/raw-text.ts'
import { isWithin, nearestIn, parentPath, rootPath, type RawPath } from '../model/raw-path.ts'
import { parseMountRows, type MountRow } from '../wire/mount-table.ts'
import { seeMountsBelow } from '../wire/mount-sight.ts'
import type { RawText } from '../base/raw-text.ts'
import { ownFolders } from './own-folders.ts'

/** A mount with an overlay. All paths of a plan are those of the machine, whose root may be a folder here. */
export interface StagedMount {
  readonly path: RawPath
  readonly type: string
  /** The folder of this layer on the same mount, with `upper` and `work` in it. */
  readonly layer: RawPath
  /** What the overlay must forbid since the mount does: `nosuid`, `nodev`, `noexec`. */
  readonly flags: readonly string[]
}

/** A mount or folder that is the real one in the stage, too: what is written there is written at once and in no change set. */
export interface ThroughMount {
  readonly path: RawPath
  readonly reason: string
}

/** Another view of files that a staged mount has: in the stage it shows that one's. */
export interface AliasMount {
  readonly path: RawPath
  /** The same folder by the name under which its changes are told. */
  readonly of: RawPath
}

/** One thing to mount; in a plan they stand in the order in which it can be done. */
export type StageMount =
  | ({ readonly kind: 'overlay' } & StagedMount)
  | ({ readonly kind: 'through' } & ThroughMount)
  | ({ readonly kind: 'alias' } & AliasMount)

export interface MountPlan {
  /** The folder here that is the machine's root. */
  readonly root: RawPath
  /** VML's folder on the machine. */
  readonly state: RawPath
  readonly mounts: readonly StageMount[]
  /** VML's own folders, at every path that leads to them: empty in the stage, and no part of any change set or index. */
  readonly hidden: readonly RawPath[]
}

export type MountPlanning =
  | { readonly kind: 'stage'; readonly plan: MountPlan }
  /** A stage cannot be had here; the reason is a sentence. The view is of what would have been staged. */
  | { readonly kind: 'unsupported'; readonly reason: string; readonly view: RootView }

/** What is looked at of a root: all below the tops but what is closed, with all that lies in it. */
export interface RootView {
  readonly root: RawPath
  readonly tops: readonly RawPath[]
  readonly closed: ReadonlySet<RawPath>
  /** Of what is closed, VML's own folders: closed at any other path, too, that leads to one of them. */
  readonly own: readonly RawPath[]
}

export interface MountRequest {
  /** Of this process: `/proc/self/mountinfo`. */
  readonly mountInfo: RawText
  readonly root: RawPath
  readonly state: RawPath
  /**
   * Whether the state folder has the st_dev of its mount's top. One in a subvolume of its own has not: nothing can be renamed out of it.
   */
  readonly stateOnMount: boolean
  /** Folders elsewhere that links in the state folder lead to. Without links on the way. */
  readonly ownBesides?: readonly RawPath[]
  /** Of a path of the machine. A file can be a mount point, too, and is no place for an overlay. */
  readonly isFolder: (path: RawPath) => boolean
  /** Folders with the data of running daemons, besides: never staged. Without links on the way. */
  readonly dataFolders: readonly RawPath[]
  /**
   * For a change without a stage: nothing is mounted, and `overlay` says where what was there is kept. Every file system that this machine alone writes
   * to serves, read or linked.
   */
  readonly live?: boolean
}

/**
 * File systems that can hold an overlay's upper folder: they have `trusted.` attributes, whiteouts by rename and types in their
 * folders (overlayfs.rst, "Upper and Lower"). zfs can from 2.2 on, and was not tried: it is seen through.
 */
const stageable = /^(?:ext[234]|xfs|btrfs|tmpfs|f2fs)$/
/** Besides, those that hold a system, or a boot loader, without a stage. What others write to meanwhile, over a network, is nobody's change. */
const readable =
  /^(?:ext[234]|xfs|btrfs|tmpfs|f2fs|overlay|aufs|zfs|bcachefs|jfs|nilfs2|reiserfs|vfat|msdos|exfat)$/

/** Folders that are the real ones in a stage, with the reason. */
const throughFolders: readonly ThroughMount[] = [
  ['/proc', 'the kernel makes it'],
  ['/sys', 'the kernel makes it'],
  ['/dev', 'the kernel makes it'],
  ['/run', 'it lasts until the next boot only'],
  ['/tmp', 'it lasts until the next boot only'],
  // Programs that put together a boot image unpack hundreds of megabytes here, and take them away again.
  ['/var/tmp', 'it is for what is of no use after a program has ended'],
  ['/var/log', 'logs are never taken back, and running programs write them'],
  // apt runs outside of the stage and writes these while it does.
  ['/var/cache/apt/archives', 'it can be fetched again'],
  ['/var/lib/apt/lists', 'it can be fetched again'],
  ['/var/cache/dnf', 'it can be fetched again'],
  ['/var/cache/libdnf5', 'it can be fetched again'],
  ['/var/cache/yum', 'it can be fetched again'],
].map(([path, reason]) => ({ path: rawFromString(path ?? '') as RawPath, reason: reason ?? '' }))

const forbidding: readonly string[] = ['nosuid', 'nodev', 'noexec']
/** Folders of snapshots within a btrfs (snapper's name): whole systems, of which a change set is never one. */
const snapshotsName = '.snapshots'

/** Pure: says what `enter` would do. */
export function planMounts(request: MountRequest): MountPlanning {
  const { root, state, isFolder } = request
  const sight = seeMountsBelow(root, parseMountRows(request.mountInfo))
  const listed = sight.mountOf(rootPath)
  // Live mode looks at a root that is no mount point, too: nothing is known of it, and nothing is mounted onto it.
  const top = listed ?? (request.live === true ? unlistedRoot : undefined)
  const folders = [
    ...throughFolders,
    ...request.dataFolders.map((path) => ({ path, reason: 'it holds the data of a running service' })),
  ].filter(({ path }) => isFolder(path))
  const closed = new Set(folders.map(({ path }) => path))
  const seen = listed === undefined && top !== undefined ? [top, ...sight.visible] : sight.visible
  const own = ownFolders(sight, state, request.ownBesides)
  const rows = seen.filter(
    ({ path }) => nearestIn(path, closed) === undefined && !own.some((folder) => isWithin(path, folder)),
  )
  const suits = request.live === true ? readable : stageable
  const reasons = new Map(rows.map((row) => [row, whyThrough(row, { rows, isFolder, suits })]))
  const { staged, aliases } = splitViews(
    rows.filter((row) => reasons.get(row) === undefined),
    rows,
  )
  const stateMount = sight.mountOf(state)
  const overlays = staged.map((row, index): StageMount => {
    const here = row === stateMount && request.stateOnMount
    const { path, type } = row
    const layer = here
      ? `${state}/stage/open/layers/${index}`
      : `${path === '/' ? '' : path}/${storeName}/layers`
    const flags = forbidding.filter((flag) => row.options.includes(flag))
    return { kind: 'overlay', path, type, layer: layer as RawPath, flags }
  })
  const through: StageMount[] = [
    ...rows.flatMap((row) => {
      const reason = reasons.get(row)
      return reason === undefined ? [] : [{ path: row.path, reason }]
    }),
    ...folders,
    ...staged.flatMap(snapshotsOf).filter(({ path }) => isFolder(path)),
  ].map((each) => ({ kind: 'through', ...each }))
  const stores = overlays.flatMap((each) =>
    each.kind === 'overlay' && !isWithin(each.layer, state) ? [parentPath(each.layer)] : [],
  )
  const plan: MountPlan = {
    root,
    state,
    mounts: inOrder([...overlays, ...aliases, ...outer(through, [...overlays, ...aliases])]),
    hidden: [...own, ...stores],
  }
  const reason = request.live === true ? undefined : top === undefined ? noMountPoint : whyNoStage(top)
  return reason === undefined ? { kind: 'stage', plan } : { kind: 'unsupported', reason, view: viewOf(plan) }
}

const unlistedRoot: MountRow = {
  path: rootPath,
  type: 'unknown',
  id: -1,
  parent: -1,
  device: '?',
  inside: rootPath,
  source: rawFromString('?'),
  options: [],
}

/** A staged mount within one that is seen through is a top of its own: nobody looks at what lies above. */
export function viewOf(plan: MountPlan): RootView {
  const kinds = new Map(plan.mounts.map(({ path, kind }) => [path, kind]))
  const inner = overlaysOf(plan).flatMap(({ path }) => {
    const above = path === rootPath ? undefined : nearestIn(parentPath(path), kinds)
    return above === undefined || kinds.get(above) === 'overlay' ? [] : [path]
  })
  const closed = plan.mounts.flatMap(({ path, kind }) => (kind === 'overlay' ? [] : [path]))
  return {
    root: plan.root,
    tops: [rootPath, ...inner],
    closed: new Set([...closed, ...plan.hidden]),
    own: plan.hidden,
  }
}

/** What packages, their databases and all rules go by. */
const systemFolders = ['/etc', '/usr', '/boot', '/var/lib/dpkg', '/var/lib/apt', '/var/lib/rpm'].map(
  (path) => rawFromString(path) as RawPath,
)

/**
 * A part of the system of which changes would be told by other names than its own, since a wider mount shows it, too. No rule would know what they are: of dpkg's
 * database some files would go with an undo, and others stay.
 */
export function misnamedPart({ mounts }: Pick<MountPlan, 'mounts'>): AliasMount | undefined {
  return mounts.find(
    (mount) => mount.kind === 'alias' && systemFolders.some((folder) => isWithin(folder, mount.path)),
  ) as AliasMount | undefined
}

/** Where people have data, and no stage: what the kernel, or a program, makes up holds nothing that could be lost. */
const dataTypes =
  /^(?:vfat|msdos|exfat|ntfs3?|fuseblk|ramfs|zfs|bcachefs|jfs|nilfs2|reiserfs|hfsplus|udf|nfs4?|cifs|smb3|ceph|9p|virtiofs|fuse\.(?:sshfs|rclone|glusterfs|mergerfs|s3fs))$/
const bootFolder = rawFromString('/boot') as RawPath

/** Mounts with data that are the real ones in the stage, and can be written. That of a boot loader lies below /boot on every machine, and says nothing. */
export function dataMountsThrough(
  { root, mounts }: Pick<MountPlan, 'root' | 'mounts'>,
  mountInfo: RawText,
): readonly { readonly path: RawPath; readonly type: string }[] {
  const rows = new Map(seeMountsBelow(root, parseMountRows(mountInfo)).visible.map((row) => [row.path, row]))
  return mounts.flatMap(({ kind, path }) => {
    const row = kind === 'through' ? rows.get(path) : undefined
    return row !== undefined &&
      dataTypes.test(row.type) &&
      !isReadOnly(row.options) &&
      !isWithin(path, bootFolder)
      ? [{ path, type: row.type }]
      : []
  })
}

/**
 * Mounts on which something can be removed, and whether a second name of it can be had at once: on a disk of this machine it can. Of other ones, such as `/proc`,
 * nothing is said.
 */
export function mountsToHold(
  root: RawPath,
  mountInfo: RawText,
): ReadonlyMap<RawPath, { readonly type: string; readonly canHold: boolean }> {
  const { visible } = seeMountsBelow(root, parseMountRows(mountInfo))
  return new Map(
    visible.flatMap(({ path, type, options }) => {
      const canHold = stageable.test(type)
      return isReadOnly(options) || !(canHold || dataTypes.test(type)) ? [] : [[path, { type, canHold }]]
    }),
  )
}

/** Of the folder at the top of a mount that does not hold VML's own. */
export const storeName = '.vml-stage'

export function overlaysOf(plan: MountPlan): StagedMount[] {
  return plan.mounts.flatMap((mount) => (mount.kind === 'overlay' ? [mount] : []))
}

/** unshare(1) says "Invalid argument" to it, and the table of a chroot does not list it: only mounts below its root are there. */
const noMountPoint =
  'The root is no mount point, as in a plain chroot, so that the mounts of a stage cannot be kept apart; one that is bound onto itself first can have one'

function whyNoStage({ type, options }: MountRow): string | undefined {
  if (type === 'overlay')
    return 'The root is an overlay itself, as in a container, and the kernel stacks no second one onto it that could be written'
  if (!stageable.test(type))
    return `The root lies on ${printable(rawFromString(type))}, which cannot hold the upper folder of an overlay`
  if (isReadOnly(options)) return 'The root is mounted read-only'
  return undefined
}

/** Why a mount is no part of the stage. */
function whyThrough(
  row: MountRow,
  {
    rows,
    isFolder,
    suits,
  }: {
    readonly rows: readonly MountRow[]
    readonly isFolder: (path: RawPath) => boolean
    readonly suits: RegExp
  },
): string | undefined {
  const { path, type, options } = row
  // With the root there is no stage, or it has an overlay.
  if (path === rootPath) return undefined
  if (!suits.test(type)) return `it is of type ${type}, which cannot hold the upper folder of an overlay`
  if (isReadOnly(options)) return 'it is mounted read-only'
  if (!isFolder(path)) return 'it is a file that was mounted'
  const holdsOthers = rows.some(
    (other) => other !== row && other.inside !== '/' && other.device === row.device,
  )
  if (type === 'btrfs' && path !== rootPath && row.inside === '/' && holdsOthers)
    return 'it shows all subvolumes at once, and those are recorded where they are mounted each'
  return undefined
}

function isReadOnly(options: readonly string[]): boolean {
  return options.includes('ro')
}

/**
 * Two views of one file system would be two copies in a stage. Where one shows a part of what the other one does, it becomes that one's alias; changes are told by
 * the names of the wider one, and of two equals by those of the root, then of the first.
 */
function splitViews(
  rows: readonly MountRow[],
  all: readonly MountRow[],
): { staged: MountRow[]; aliases: StageMount[] } {
  const staged: MountRow[] = []
  const aliases: StageMount[] = []
  const widest = rows.toSorted(
    (one, other) =>
      Number(other.path === '/') - Number(one.path === '/') || one.inside.length - other.inside.length,
  )
  for (const row of widest) {
    // The wider one must show just that there, and not another mount that hides it.
    const of = staged
      .map((wide) => ({ wide, path: placeIn(row, wide) }))
      .find(({ wide, path }) => path !== undefined && !hidesPlace(all, wide, path))?.path
    if (of === undefined) staged.push(row)
    else aliases.push({ kind: 'alias', path: row.path, of })
  }
  return { staged: rows.filter((row) => staged.includes(row)), aliases }
}

/** Where `wide` shows what `narrow` does. */
function placeIn(narrow: MountRow, wide: MountRow): RawPath | undefined {
  if (narrow.device !== wide.device) return undefined
  const [inner, outerFolder] = [narrow.inside as RawPath, wide.inside as RawPath]
  if (!isWithin(inner, outerFolder)) return undefined
  const rest = outerFolder === '/' ? (inner === '/' ? '' : inner) : inner.slice(outerFolder.length)
  return (`${wide.path === '/' ? '' : wide.path}${rest}` || '/') as RawPath
}

function hidesPlace(rows: readonly MountRow[], wide: MountRow, path: RawPath): boolean {
  return rows.some(
    (row) =>
      row !== wide && isWithin(path, row.path) && isWithin(row.path, wide.path) && row.path !== wide.path,
  )
}

function snapshotsOf({ path, type }: MountRow): ThroughMount[] {
  if (type !== 'btrfs') return []
  const folder = `${path === '/' ? '' : path}/${snapshotsName}` as RawPath
  return [{ path: folder, reason: 'it holds snapshots' }]
}

/** A folder is bound with all that is mounted in it: only what a staged mount comes between needs a bind of its own. */
function outer(through: readonly StageMount[], others: readonly StageMount[]): StageMount[] {
  const kinds = new Map([...others, ...through].map(({ path, kind }) => [path, kind]))
  const seen = new Set<RawPath>()
  return through.filter(({ path }) => {
    const above = path === rootPath ? undefined : nearestIn(parentPath(path), kinds)
    if (seen.has(path) || (above !== undefined && kinds.get(above) === 'through')) return false
    seen.add(path)
    return true
  })
}

/** What lies in another one comes after it, and an alias after the mount that it shows. */
function inOrder(mounts: readonly StageMount[]): StageMount[] {
  const left = mounts.toSorted((one, other) => (one.path < other.path ? -1 : 1))
  const done: StageMount[] = []
  while (left.length > 0) {
    const at = left.findIndex((mount) =>
      left.every(
        (other) =>
          other === mount ||
          (!(isWithin(mount.path, other.path) && mount.path !== other.path) &&
            !(mount.kind === 'alias' && other.kind === 'overlay' && isWithin(mount.of, other.path))),
      ),
    )
    // Two that wait for each other cannot come of a real table; then the order of paths serves.
    done.push(...left.splice(Math.max(at, 0), 1))
  }
  return done
}
