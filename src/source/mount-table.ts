// The mount table of a machine (`/proc/self/mountinfo`, proc(5)) and what it means for a scan.
import type { RawText } from '../base/raw-text.ts'
import { isWithin, parentPath, parseRawPath, rootPath, type RawPath } from '../model/raw-path.ts'

export interface Mount {
  readonly path: RawPath
  /** `ext4`, `fuse.sshfs`, `nfs4`, …; safe to print. */
  readonly type: string
}

const mountsMax = 100_000

/** What is mounted where, topmost mount per path, in the table's order. Lines that are not understood are left out. */
export function parseMountInfo(text: RawText): Mount[] {
  const mounts = new Map<RawPath, Mount>()
  for (const line of text.split('\n')) {
    const fields = line.split(' ')
    const separator = fields.indexOf('-', 6)
    const point = fields[4]
    const type = fields[separator + 1]
    if (separator < 0 || point === undefined || type === undefined) continue
    const path = parseRawPath(unescapeOctal(point))
    // A mount point whose folder was unlinked cannot be reached by its name.
    if (path === undefined || point.endsWith('//deleted')) continue
    mounts.delete(path)
    mounts.set(path, { path, type: /^[\w.+-]{1,64}$/.test(type) ? type : 'unknown' })
    if (mounts.size > mountsMax) break
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
