// Two whole trees side by side: every difference in what a file system says of a path, but for those that a named rule allows.
import { printable, rawFromString, type RawText } from '../src/base/raw-text.ts'
import { readTree, type Tree, type TreeEntry } from './tree-read.ts'

export type DifferenceKind =
  | 'only in one'
  | 'only in other'
  | 'type'
  | 'mode'
  | 'user'
  | 'group'
  | 'content'
  | 'target'
  | 'device'
  | 'names'
  | 'xattrs'
  | 'mtime'

export interface TreeDifference {
  readonly path: RawText
  readonly kind: DifferenceKind
  /** What each tree has, to be read by people. */
  readonly one: string
  readonly other: string
}

export interface AllowedDifference {
  readonly name: string
  /** Asked for each difference. A rule that says "equal in meaning" has looked at both. */
  allows(difference: TreeDifference, trees: { readonly one: Tree; readonly other: Tree }): boolean
}

export interface TreeComparison {
  /** In order of paths. */
  readonly differences: readonly TreeDifference[]
  /** How many each rule has allowed; rules without any are not in it. */
  readonly allowed: ReadonlyMap<string, number>
}

export interface CompareOptions {
  /** Default: none. */
  readonly allowed?: readonly AllowedDifference[]
  /** Times of files, too; those of folders and links are nobody's promise. Default: no. */
  readonly times?: boolean
}

/** Trees, or folders to read them from (`chroot.path`). */
export function compareTrees(
  first: Tree | string,
  second: Tree | string,
  { allowed: rules = [], times = false }: CompareOptions = {},
): TreeComparison {
  const [one, other] = [first, second].map((tree) => (typeof tree === 'string' ? readTree(tree) : tree))
  if (one === undefined || other === undefined) throw new Error('Two trees are compared')
  const paths = new Set([...one.entries.keys(), ...other.entries.keys()])
  const differences: TreeDifference[] = []
  const allowed = new Map<string, number>()
  for (const path of [...paths].toSorted()) {
    for (const difference of differencesAt(path, one.entries.get(path), other.entries.get(path), times)) {
      const rule = rules.find((candidate) => candidate.allows(difference, { one, other }))
      if (rule === undefined) differences.push(difference)
      else allowed.set(rule.name, (allowed.get(rule.name) ?? 0) + 1)
    }
  }
  return { differences, allowed }
}

// So many lines tell what is wrong; more hide it.
const linesMax = 40

/** For the message of an assertion: `assert.equal(renderComparison(comparison), '')`. */
export function renderComparison({ differences }: TreeComparison): string {
  const lines = differences.map(
    ({ path, kind, one, other }) => `${printable(path)}: ${kind}: ${one} | ${other}`,
  )
  const more = lines.length - linesMax
  return [...lines.slice(0, linesMax), ...(more > 0 ? [`and ${more} more`] : [])].join('\n')
}

function differencesAt(
  path: RawText,
  one: TreeEntry | undefined,
  other: TreeEntry | undefined,
  times: boolean,
): TreeDifference[] {
  if (one === undefined) return [{ path, kind: 'only in other', one: '', other: other?.type ?? '' }]
  if (other === undefined) return [{ path, kind: 'only in one', one: one.type, other: '' }]
  const looks: readonly (readonly [DifferenceKind, string, string])[] = [
    ['type', one.type, other.type],
    ['mode', one.mode.toString(8), other.mode.toString(8)],
    ['user', String(one.uid), String(other.uid)],
    ['group', String(one.gid), String(other.gid)],
    ['content', contentText(one), contentText(other)],
    ['target', printable(one.linkTarget ?? noText), printable(other.linkTarget ?? noText)],
    ['device', String(one.device ?? ''), String(other.device ?? '')],
    ['names', printable(one.sameFileAs ?? noText), printable(other.sameFileAs ?? noText)],
    ['xattrs', one.xattrs.join(' '), other.xattrs.join(' ')],
    ['mtime', timeText(one, times), timeText(other, times)],
  ]
  return looks.flatMap(([kind, left, right]) =>
    left === right ? [] : [{ path, kind, one: left, other: right }],
  )
}

const noText = rawFromString('')

function contentText({ size, sha256 }: TreeEntry): string {
  return sha256 === undefined ? '' : `${size} bytes ${sha256}`
}

function timeText({ type, mtimeNs }: TreeEntry, times: boolean): string {
  return times && type === 'file' ? String(mtimeNs) : ''
}
