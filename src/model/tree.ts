// The manifest of an entry: what a tree in the store says of each path. Field by field a node of restic's
// format (restic, doc/design.rst, "Trees and Data"); the store translates, nobody else knows the JSON.
import type { RawText } from '../base/raw-text.ts'
import type { BlobId, TreeId } from './ids.ts'
import type { RawName } from './raw-path.ts'

export type NodeType = 'file' | 'dir' | 'symlink' | 'fifo' | 'socket' | 'dev' | 'chardev' | 'irregular'

export interface Xattr {
  readonly name: RawText
  readonly value: Uint8Array
}

/** Everything that is known of a path except its name and content. Absent means: not known, not zero. */
export interface Attributes {
  readonly type: NodeType
  /** Permission bits with setuid, setgid and sticky: `0o7777` at most. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly user?: RawText
  readonly group?: RawText
  readonly mtimeNs: bigint
  readonly atimeNs?: bigint
  readonly ctimeNs?: bigint
  readonly inode?: bigint
  readonly deviceId?: bigint
  readonly links?: number
  /** Bytes; files only. */
  readonly size?: number
  readonly linkTarget?: RawText
  /** Device number of `dev` and `chardev`. */
  readonly device?: bigint
  /** ACLs are the attributes `system.posix_acl_access` and `system.posix_acl_default`, in the kernel's binary form. */
  readonly xattrs?: readonly Xattr[]
}

export interface TreeNode extends Attributes {
  readonly name: RawName
  /** Blobs of a file in order; their lengths add up to `size`. */
  readonly content?: readonly BlobId[]
  readonly subtree?: TreeId
}

/** A piece of a file's content in order. */
export type Segment =
  | { readonly kind: 'data'; readonly bytes: Uint8Array }
  | { readonly kind: 'hole'; readonly length: number }

/** Of a content that is there as a whole. */
export function asSegments(bytes: Uint8Array): readonly Segment[] {
  return bytes.length > 0 ? [{ kind: 'data', bytes }] : []
}
