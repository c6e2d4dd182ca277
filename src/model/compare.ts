// What changed between two states of a machine, as plain data in the order in which it is told.
import type { RawText } from '../base/raw-text.ts'
import type { BaseFacts, Fidelity } from './entry.ts'
import type { PackageChange, PackageSet } from './packages.ts'
import { compareRaw, type RawPath } from './raw-path.ts'
import type { NodeType, TreeNode, Xattr } from './tree.ts'

/** How a path changed; a path has one mark, and what of its attributes changed besides. */
export type FileMark = '+' | '-' | 'M' | 'T' | 'mode' | 'owner' | 'xattrs' | 'times' | 'rename'
export type AttributeKind = 'mode' | 'owner' | 'xattrs' | 'times'

/** One side of a change, for those who show more than the mark. */
export interface FileState {
  readonly type: NodeType
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly user?: RawText
  readonly group?: RawText
  readonly size?: number
  readonly mtimeNs: bigint
  readonly linkTarget?: RawText
}

export interface FileChange {
  readonly mark: FileMark
  /** Where it is now; where it was, for `-`. */
  readonly path: RawPath
  /** Only for `rename`: where it was. A renamed folder is one change, with everything below it. */
  readonly from?: RawPath
  readonly left?: FileState
  readonly right?: FileState
  /** What of the attributes changed besides the mark; `times` only when asked for. */
  readonly attributes: readonly AttributeKind[]
  /** Files and bytes below a renamed folder. */
  readonly below?: { readonly files: number; readonly bytes: number }
}

export interface EnvironmentChange {
  readonly kind: 'added' | 'removed' | 'changed'
  readonly name: RawText
  readonly left?: RawText
  readonly right?: RawText
}

export interface FactChange {
  readonly fact: 'system' | 'cernvm' | 'kernel' | 'architecture'
  readonly left: string
  readonly right: string
}

/** A path that one side did not record: nothing can be said about it. */
export interface NotCompared {
  readonly path: RawPath
  readonly side: 'left' | 'right'
  /** `lost`: it was in the entry, and damage of the logbook took it. */
  readonly reason: 'not included' | 'excluded' | 'unreadable' | 'lost'
}

export interface FileTotals {
  readonly added: number
  readonly deleted: number
  /** Content or type. */
  readonly changed: number
  readonly attributes: number
  /** A renamed folder counts once. */
  readonly renamed: number
  /** Bytes of files that are new, and growth of those that are not. */
  readonly bytesAdded: number
  readonly bytesRemoved: number
}

/** Undefined where one of the sides did not record it. */
export interface Comparison {
  readonly left: string
  readonly right: string
  /** No difference of any kind, as far as both sides recorded it. */
  readonly identical: boolean
  readonly facts: readonly FactChange[]
  readonly packages: readonly PackageChange[] | undefined
  /** Changed files that hold configuration; not again among `files`. In order of path. */
  readonly configuration: readonly FileChange[]
  readonly environment: readonly EnvironmentChange[] | undefined
  /** All other changed files, in order of path. */
  readonly files: readonly FileChange[]
  /** Over configuration and files. */
  readonly totals: FileTotals
  readonly notCompared: readonly NotCompared[]
}

/** What a side knows besides its files; what is undefined was not recorded. */
export interface SideDocuments {
  readonly facts?: BaseFacts
  readonly packages?: PackageSet
  readonly environment?: ReadonlyMap<RawText, RawText>
  readonly fidelity?: Pick<Fidelity, 'xattrs'>
}

/** Set by a shell anew at each start, so that they say nothing about the machine. */
const passingVariables = new Set(['_', 'SHLVL', 'PWD', 'OLDPWD', 'SSH_CLIENT', 'SSH_CONNECTION', 'SSH_TTY'])

export function diffEnvironment(
  left: ReadonlyMap<RawText, RawText>,
  right: ReadonlyMap<RawText, RawText>,
): readonly EnvironmentChange[] {
  const names = [...new Set([...left.keys(), ...right.keys()])].toSorted(compareRaw)
  return names.flatMap((name): EnvironmentChange[] => {
    const [before, after] = [left.get(name), right.get(name)]
    if (before === after || passingVariables.has(name)) return []
    if (before === undefined) return after === undefined ? [] : [{ kind: 'added', name, right: after }]
    if (after === undefined) return [{ kind: 'removed', name, left: before }]
    return [{ kind: 'changed', name, left: before, right: after }]
  })
}

/** A fact that one side does not know is no change. */
export function diffFacts(left: BaseFacts = {}, right: BaseFacts = {}): readonly FactChange[] {
  const facts: readonly [FactChange['fact'], string | undefined, string | undefined][] = [
    ['system', systemName(left), systemName(right)],
    ['cernvm', left.cernvmRelease, right.cernvmRelease],
    ['kernel', left.kernel, right.kernel],
    ['architecture', left.architecture, right.architecture],
  ]
  return facts.flatMap(([fact, before, after]) =>
    before === undefined || after === undefined || before === after
      ? []
      : [{ fact, left: before, right: after }],
  )
}

/** As the system calls itself. */
export function systemName({ os }: BaseFacts): string | undefined {
  if (os === undefined) return undefined
  const plain = [os['NAME'] ?? os['ID'], os['VERSION_ID']].filter((text) => text !== undefined).join(' ')
  return os['PRETTY_NAME'] ?? (plain === '' ? undefined : plain)
}

/**
 * Whether a file holds configuration: everything under `/etc`, in a home `.config` and files whose name starts with
 * a dot, and files that are named as configuration anywhere. Never histories, caches and what lies in `.git`,
 * `.local/share` and the like: work, not settings.
 */
export function isConfigurationPath(path: RawPath): boolean {
  if (path.startsWith('/etc/')) return true
  const parts = path.slice(1).split('/')
  const name = parts.pop() ?? ''
  const folders = parts.filter((part) => part.startsWith('.'))
  if (folders.some((folder) => !settingsFolders.has(folder))) return false
  if (workNames.test(name)) return false
  if (folders.length > 0) return true
  return /^\.[^.]/.test(name) || settingsNames.test(name)
}

const settingsFolders = new Set([
  '.config',
  '.ssh',
  '.gnupg',
  '.aws',
  '.kube',
  '.docker',
  '.jupyter',
  '.ipython',
  '.vim',
  '.emacs.d',
])
const workNames =
  /(?:_history|\.(?:log|lock|swp|bak|tmp|cache|db|sqlite3?|pid))$|^\.(?:lesshst|viminfo|wget-hsts|Xauthority|ICEauthority|zcompdump.*|sudo_as_admin_successful|python_history)$/
const settingsNames =
  /\.(?:conf|cfg|cnf|ini|toml|ya?ml|properties|config|rc)$|^(?:Makefile\.local|environment|crontab)$/

/** What of the attributes differs; modes of links say nothing, and times of folders change with their content. */
export function diffAttributes(
  left: TreeNode,
  right: TreeNode,
  options: { readonly times: boolean; readonly xattrs: boolean },
): AttributeKind[] {
  const kinds: AttributeKind[] = []
  if (left.mode !== right.mode && left.type !== 'symlink') kinds.push('mode')
  if (left.uid !== right.uid || left.gid !== right.gid) kinds.push('owner')
  if (options.xattrs && !sameXattrs(left.xattrs ?? [], right.xattrs ?? [])) kinds.push('xattrs')
  if (options.times && left.type !== 'dir' && left.mtimeNs !== right.mtimeNs) kinds.push('times')
  return kinds
}

function sameXattrs(left: readonly Xattr[], right: readonly Xattr[]): boolean {
  if (left.length !== right.length) return false
  const values = new Map(left.map(({ name, value }) => [name, value]))
  return right.every(({ name, value }) => {
    const other = values.get(name)
    return other !== undefined && Buffer.compare(other, value) === 0
  })
}

export function fileState(node: TreeNode): FileState {
  const { type, mode, uid, gid, user, group, size, mtimeNs, linkTarget } = node
  return {
    type,
    mode,
    uid,
    gid,
    mtimeNs,
    ...(user === undefined ? {} : { user }),
    ...(group === undefined ? {} : { group }),
    ...(size === undefined || type !== 'file' ? {} : { size }),
    ...(linkTarget === undefined ? {} : { linkTarget }),
  }
}

export function totalsOf(changes: Iterable<FileChange>): FileTotals {
  const totals = {
    added: 0,
    deleted: 0,
    changed: 0,
    attributes: 0,
    renamed: 0,
    bytesAdded: 0,
    bytesRemoved: 0,
  }
  for (const { mark, left, right } of changes) {
    if (mark === '+') totals.added++
    else if (mark === '-') totals.deleted++
    else if (mark === 'rename') totals.renamed++
    else if (mark === 'M' || mark === 'T') totals.changed++
    else totals.attributes++
    if (mark === 'rename') continue
    const growth = (right?.size ?? 0) - (left?.size ?? 0)
    if (growth > 0) totals.bytesAdded += growth
    else totals.bytesRemoved -= growth
  }
  return totals
}

/** Sorts a folder right before what lies in it, as a tree is read. */
export function compareTreeOrder(left: string, right: string): -1 | 0 | 1 {
  const length = Math.min(left.length, right.length)
  for (let index = 0; index < length; index++) {
    const [a, b] = [left.charCodeAt(index), right.charCodeAt(index)]
    if (a !== b) return (a === slash ? 0 : a) < (b === slash ? 0 : b) ? -1 : 1
  }
  return left.length === right.length ? 0 : left.length < right.length ? -1 : 1
}

const slash = 0x2f
