// The mount table of a machine (`/proc/self/mountinfo`, proc(5)) and what it means for a scan.
import type { RawText } from '../base/raw-text.ts'
import { isWithin, parentPath, parseRawPath, rootPath, type RawPath } from '../model/raw-path.ts'

export interface Mount {
  readonly path: RawPath
  /** `ext4`, `fuse.sshfs`, `nfs4`, …; safe to print. */
  readonly type: string
}

const mountsMax = 100_000

/** One line of the table: also what is mounted over, and what makes it another view of the same files. */
export interface MountRow extends Mount {
  readonly id: number
  readonly parent: number
  /** `major:minor` of the file system: the same for all views of it, and for all subvolumes of one btrfs. */
  readonly device: string
  /** The folder of the file system that is seen here. */
  readonly inside: RawText
  /** Of this view and of the file system: `ro`, `nosuid`, … */
  readonly options: readonly string[]
  /** What was mounted: a device, or whatever name was given. */
  readonly source: RawText
}

/** All lines in their order, without those that are not understood. */
export function parseMountRows(text: RawText): MountRow[] {
  const rows: MountRow[] = []
  for (const line of text.split('\n')) {
    const fields = line.split(' ')
    const [id, parent, device, inside, point, options] = fields
    const separator = fields.indexOf('-', 6)
    const type = fields[separator + 1]
    if (separator < 0 || point === undefined || type === undefined) continue
    const path = parseRawPath(unescapeOctal(point))
    // A mount point whose folder was unlinked cannot be reached by its name.
    if (path === undefined || point.endsWith('//deleted')) continue
    rows.push({
      path,
      type: /^[\w.+-]{1,64}$/.test(type) ? type : 'unknown',
      id: Number(id),
      parent: Number(parent),
      device: device ?? '',
      inside: unescapeOctal(inside ?? ''),
      source: unescapeOctal(fields[separator + 2] ?? ''),
      options: [...(options ?? '').split(','), ...(fields[separator + 3] ?? '').split(',')],
    })
    if (rows.length > mountsMax) break
  }
  return rows
}

/** What is mounted where, topmost mount per path, in the table's order. Lines that are not understood are left out. */
export function parseMountInfo(text: RawText): Mount[] {
  const mounts = new Map<RawPath, Mount>()
  for (const { path, type } of parseMountRows(text)) {
    mounts.delete(path)
    mounts.set(path, { path, type })
  }
  return [...mounts.values()]
}

/** The mount that holds a physical path. */
export function mountOf(path: RawPath, mounts: readonly Mount[]): Mount | undefined {
  let best: Mount | undefined
  for (const mount of mounts) {
    if (isWithin(path, mount.path) && (best === undefined || isWithin(mount.path, best.path))) best = mount
  }
  return best
}

/**
 * The mounts that a walk below `root` meets, topmost only, seen through the name that the root was given by
 * (`physical` is the root's real place: folders above it may be links).
 */
export function mountsBelow(
  root: { readonly path: RawPath; readonly physical: RawPath },
  mounts: readonly Mount[],
): Mount[] {
  const below = mounts.filter(({ path }) => path !== root.physical && isWithin(path, root.physical))
  const points = new Set<string>(below.map(({ path }) => path))
  return below
    .filter(({ path }) => !hasAncestorIn(path, points))
    .map(({ path, type }) => ({ path: relocate(path, root), type }))
}

function hasAncestorIn(path: RawPath, points: ReadonlySet<string>): boolean {
  for (let above = parentPath(path); above !== rootPath; above = parentPath(above)) {
    if (points.has(above)) return true
  }
  return false
}

function relocate(path: RawPath, root: { readonly path: RawPath; readonly physical: RawPath }): RawPath {
  if (root.path === root.physical) return path
  const rest = root.physical === '/' ? path : path.slice(root.physical.length)
  return (root.path === '/' ? rest : `${root.path}${rest}`) as RawPath
}

/** The kernel writes space, tab, newline, backslash and `#` as three octal digits. */
function unescapeOctal(text: string): RawText {
  return text.replace(/\\([0-3][0-7]{2})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  ) as RawText
}
