// A transaction: one change of a machine's software, with what is needed to take exactly it back.
import type { RawPath } from './raw-path.ts'
import type { Attributes } from './tree.ts'

/** A title that is made of a command or of other titles is cut there. */
export const titleCharactersMax = 200
/** One that somebody typed is taken as it is, or refused. */
export const typedTitleCharactersMax = 4096

/** What a path is at one moment. Two are the same state where `sameState` says so; numbers of inodes and ctimes only save a look at the content. */
export interface Fingerprint extends Attributes {
  /** Of a regular file's content, lower-case hex. */
  readonly sha256?: string
}

/** One path that a transaction changed. Without `before` it was created, without `after` it is gone; both differ otherwise. */
export interface PathChange {
  readonly path: RawPath
  readonly before?: Fingerprint
  readonly after?: Fingerprint
  /** Some names of the file that the path was a name of before, or is one of after, which stay as they are. Absent where there are none, or nobody looked. */
  readonly otherNames?: readonly RawPath[]
}

/** One is enough; another may be changed since. Of a tree of snapshots that share all their files each of them costs room. */
export const otherNamesMax = 3

/** How the change was made: in a stage, which is atomic, or on the live system, which is not. */
export type TransactionMode = 'staged' | 'live'

/** What made it. `hand`: found between two transactions, made by nobody whom VML saw. */
export type TransactionSource = 'apt' | 'dpkg' | 'rpm' | 'dnf' | 'command' | 'undo' | 'redo' | 'hand'

/** Where the content of a path before the transaction can be had from; decided, and verified, when it is recorded. */
export type PreImage =
  /** The fingerprint says everything: a folder, a link, a device, or nothing was there. */
  | { readonly kind: 'fingerprint' }
  /** A file of the entry, at the path's own place in its tree. */
  | { readonly kind: 'blob' }
  /** A file of a package of a source that does not forget; its sha256 is the fingerprint's. `inside` is the path in the package. */
  | {
      readonly kind: 'reference'
      readonly package: string
      readonly version: string
      readonly architecture: string
      readonly inside: RawPath
      readonly from: string
    }
  /** Made anew by a named rule, equal in meaning. */
  | { readonly kind: 'regenerable'; readonly rule: string }
  /** `zstd --patch-from` of the content after the transaction, whose sha256 is `base`; `file` lies under `/.vml/deltas/` of the entry. */
  | { readonly kind: 'delta'; readonly file: string; readonly base: string }
  /** Not to be had any more, and why. */
  | { readonly kind: 'lost'; readonly reason: string }

/** Whose a path is: what part of the transaction changed it. */
export type ChangeOwner =
  | { readonly kind: 'package'; readonly package: string }
  | { readonly kind: 'configuration'; readonly package?: string }
  | { readonly kind: 'script' }

export interface RecordedChange extends PathChange {
  readonly owner: ChangeOwner
  readonly preImage: PreImage
  /** The content after it lies in the entry, too (`/.vml/after/`), for files that are merged by their meaning. */
  readonly afterKept: boolean
}

export interface ChangeCounts {
  readonly created: number
  readonly changed: number
  readonly deleted: number
}

export function countChanges(changes: readonly PathChange[]): ChangeCounts {
  const created = changes.filter(({ before }) => before === undefined).length
  const deleted = changes.filter(({ after }) => after === undefined).length
  return { created, changed: changes.length - created - deleted, deleted }
}

/** Equal in everything that an undo promises: type, rights, owner, content, attributes. Times of folders and links are not compared. */
export function sameState(one: Fingerprint | undefined, other: Fingerprint | undefined): boolean {
  if (one === undefined || other === undefined) return one === other
  return (
    one.type === other.type &&
    one.uid === other.uid &&
    one.gid === other.gid &&
    (one.type === 'symlink' || one.mode === other.mode) &&
    one.size === other.size &&
    one.sha256 === other.sha256 &&
    one.linkTarget === other.linkTarget &&
    one.device === other.device &&
    sameXattrs(one, other)
  )
}

function sameXattrs({ xattrs: one = [] }: Fingerprint, { xattrs: other = [] }: Fingerprint): boolean {
  if (one.length !== other.length) return false
  const values = new Map(other.map(({ name, value }) => [name, value]))
  return one.every(({ name, value }) => {
    const theirs = values.get(name)
    return theirs !== undefined && Buffer.compare(value, theirs) === 0
  })
}
