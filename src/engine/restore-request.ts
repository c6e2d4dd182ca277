// What a restore is asked for: which paths of which entry go where, and what may be done there.
import type { Reporter } from '../base/progress.ts'
import type { TreeId } from '../model/ids.ts'
import type { PathMap } from '../model/path-map.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { Attributes, TreeNode } from '../model/tree.ts'
import type { Source } from '../source/source.ts'
import type { Repository } from '../store/store.ts'
import type { MissingPaths } from './restore-missing.ts'
import type { Overwrite } from './restore-plan.ts'

/** Where an entry's paths go, and what may be done there. */
export interface Destination {
  readonly source: Source
  /** For messages: a machine's name, or a folder. */
  readonly label: string
  readonly map: PathMap
  /** Owners can be given: root on the target. */
  readonly owners: boolean
  readonly mapOwner: (node: TreeNode) => TreeNode
  readonly sameMachine: boolean
}

export interface RestoreRequest {
  readonly repository: Repository
  readonly tree: TreeId
  readonly entryName: string
  readonly destination: Destination
  /** Folders or files of the entry; everything below them is restored. */
  readonly paths: readonly RawPath[]
  /** Paths of the entry that stay out: cache parts, and what the share left out. */
  readonly without: readonly RawPath[]
  /** Of what lies below `paths` only these: an entry of single paths does not speak for the folders that hold them. */
  readonly exactly?: ReadonlySet<RawPath> | undefined
  /** VML's own files, by their paths on the target: neither written nor removed, whatever the entry has. */
  readonly never: readonly { readonly path: RawPath; readonly rule: string }[]
  /** When the entry's scan began, less the tick of the clock: what changed later proves nothing by its ctime. */
  readonly settledBeforeNs: bigint
  readonly overwrite: Overwrite
  readonly remove: boolean
  /** Folders of the entry to which `remove` is kept; everything that is restored without it. */
  readonly removeWithin?: readonly RawPath[] | undefined
  /** What the entry knows that it does not have. */
  readonly missing?: MissingPaths | undefined
  /** The rule, in the words of the entry, that keeps a path of the entry's machine from being removed. */
  readonly protectedBy: (path: RawPath, isFolder: boolean) => string | undefined
  /** Files that VML adds, such as the variables to source; on the target's own paths. */
  readonly extras: readonly {
    readonly path: RawPath
    readonly bytes: Buffer
    readonly attributes: Attributes
  }[]
  readonly reporter: Reporter
  readonly signal?: AbortSignal | undefined
}
