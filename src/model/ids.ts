// Ids of the store: SHA-256 in lower-case hex, branded so that one kind is never taken for another.

declare const brand: unique symbol
type Id<Kind extends string> = string & { readonly [brand]: Kind }

/** SHA-256 of a blob's content. */
export type BlobId = Id<'blob'>
/** SHA-256 of a tree's JSON: a blob of type tree. */
export type TreeId = Id<'tree'>
export type PackId = Id<'pack'>
export type IndexId = Id<'index'>
/** Name of a snapshot file: changes when an entry is edited. */
export type SnapshotId = Id<'snapshot'>
/** Id of an entry: `original` of its snapshot where set, else the snapshot's own id. Never changes. */
export type EntryId = Id<'entry'>
export type RepositoryId = Id<'repository'>

/** An id from outside, or undefined when it is not 64 lower-case hex digits. */
export function parseId<T extends Id<string>>(text: string): T | undefined {
  return /^[0-9a-f]{64}$/.test(text) ? (text as T) : undefined
}

/** Enough of an id for people: restic's eight digits. */
export function shortId(id: string): string {
  return id.slice(0, 8)
}
