// One side of a comparison: an entry, or whatever else can name its files folder by folder.
import type { NotCompared, SideDocuments } from '../model/compare.ts'
import { rawFromBytes } from '../base/raw-text.ts'
import type { EntryDocument } from '../model/entry.ts'
import type { TreeId } from '../model/ids.ts'
import { isWithin, nearestIn, parentPath, parseRawPath, rootPath, type RawPath } from '../model/raw-path.ts'
import type { LostPath } from '../model/lost.ts'
import type { TreeNode } from '../model/tree.ts'
import type { Repository } from '../store/store.ts'

/** Folders of one state, read when they are asked for. */
export interface ComparableTree {
  /**
   * In bytewise order of names; `folder` is undefined for the root. Folders of equal `subtree` on both sides are not
   * looked into; a file without `content` is one whose content is not known.
   */
  children(path: RawPath, folder: TreeNode | undefined): Promise<readonly TreeNode[]>
}

/** What a side looked at: what lies outside is not known, which is not the same as not there. */
export interface CompareScope {
  readonly roots: readonly RawPath[]
  readonly excluded: ReadonlySet<RawPath>
  readonly unreadable: ReadonlySet<RawPath>
  /** Mount points: the folder is known, nothing below it is. */
  readonly mounts: ReadonlySet<RawPath>
  /** What damage took from the entry, folders with all below. */
  readonly lost?: ReadonlySet<RawPath>
  /** Was there, and is not in this side: told even where the other side does not have it either. */
  readonly gaps?: ReadonlySet<RawPath>
}

export interface Side extends SideDocuments {
  /** `#41`, `now`. */
  readonly label: string
  readonly tree: ComparableTree
  /** Without it, whatever the side does not have is not there. */
  readonly scope?: CompareScope
}

/** An entry with those of its documents that it has; a foreign snapshot has none. */
export function entrySide(
  entry: {
    readonly label: string
    readonly repository: Repository
    readonly tree: TreeId
    readonly document?: EntryDocument
    readonly lost?: readonly LostPath[]
    readonly signal?: AbortSignal | undefined
  } & Pick<SideDocuments, 'packages' | 'environment'>,
): Side {
  const { label, document, lost = [], packages, environment } = entry
  return {
    label,
    tree: storedTree(entry.repository, entry.tree, entry.signal),
    ...(document === undefined ? {} : { facts: document.facts, fidelity: document.fidelity }),
    ...(document === undefined && lost.length === 0 ? {} : { scope: scopeOf(document, lost) }),
    ...(packages === undefined ? {} : { packages }),
    ...(environment === undefined ? {} : { environment }),
  }
}

export function storedTree(repository: Repository, root: TreeId, signal?: AbortSignal): ComparableTree {
  return {
    async children(_path, folder) {
      const id = folder === undefined ? root : folder.subtree
      return id === undefined ? [] : await repository.readTree(id, { signal })
    },
  }
}

/** Without a document, as of a snapshot of another program, all that is not lost was looked at. */
export function scopeOf(document: EntryDocument | undefined, lostPaths: readonly LostPath[]): CompareScope {
  const lost = new Set(pathsOf(lostPaths))
  if (document === undefined)
    return {
      roots: [rootPath],
      excluded: new Set(),
      unreadable: new Set(),
      mounts: new Set(),
      lost,
      gaps: lost,
    }
  const unread = document.problems.filter(
    ({ problem }) => problem === 'unreadable' || problem === 'dead-mount' || problem === 'socket',
  )
  // A socket has no content that could be compared.
  const missed = unread.filter(({ problem }) => problem !== 'socket')
  const mounted = document.problems.filter(({ problem }) => problem === 'mount')
  return {
    roots: pathsOf(document.roots),
    excluded: new Set(pathsOf(document.excluded)),
    unreadable: new Set(pathsOf(unread)),
    mounts: new Set(pathsOf([...document.mounts, ...mounted])),
    lost,
    gaps: new Set([...lost, ...pathsOf(missed)]),
  }
}

/** Why a side can say nothing about a path that it does not have; undefined where it can: the path was not there. */
export function whyUnknown(
  scope: CompareScope | undefined,
  path: RawPath,
): NotCompared['reason'] | undefined {
  if (scope === undefined) return undefined
  if (isLost(scope, path)) return 'lost'
  for (let at = path; at !== rootPath; at = parentPath(at)) {
    if (scope.excluded.has(at)) return 'excluded'
    if (scope.unreadable.has(at)) return 'unreadable'
    // A root that lies on the mount was read all the same.
    if (scope.roots.includes(at)) break
    if (at !== path && scope.mounts.has(at)) return 'not included'
  }
  return scope.roots.some((root) => isWithin(path, root) || isWithin(root, path)) ? undefined : 'not included'
}

/** Damage knows no roots: a folder above one takes it along. */
function isLost({ lost }: CompareScope, path: RawPath): boolean {
  return lost !== undefined && lost.size > 0 && nearestIn(path, lost) !== undefined
}

function pathsOf(items: readonly { readonly raw: string }[]): RawPath[] {
  return items.flatMap(({ raw }) => {
    const path = parseRawPath(rawFromBytes(Buffer.from(raw, 'base64')))
    return path === undefined ? [] : [path]
  })
}
