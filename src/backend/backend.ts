// The face of a place where the files of a repository lie.

/** `parity` is recovery data, which only VML knows: docs/format.md. Only where `traits.parity` says so can the storage keep it. */
export type FileKind = 'config' | 'key' | 'lock' | 'snapshot' | 'index' | 'pack' | 'parity'

/** `name` is 64 hex digits; empty for `config`. */
export interface FileRef {
  readonly kind: FileKind
  readonly name: string
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined
  /** From the storage itself, never from a copy that this computer keeps: for checks. */
  readonly fresh?: boolean | undefined
  /** A part of a pack that will be asked for again: worth a copy on this computer where the storage is another one. */
  readonly keep?: boolean | undefined
}

/** A part of a file; it must lie within it. */
export interface FileRange {
  readonly offset: number
  readonly length: number
}

/** A file that has no name in the repository yet, and nothing of it is durable. */
export interface StagedFile {
  /** Any thread of this process may write to it (staged-file.ts). */
  readonly descriptor: number
  /**
   * What was written becomes this file, with all that `put` promises. Its name is the SHA-256 of it, and `bytes` is how much it is.
   * Whatever comes of it, there is nothing to drop afterwards.
   */
  put(file: FileRef, bytes: number, options?: CallOptions): Promise<void>
  drop(): void
}

export interface ListedFile {
  readonly name: string
  readonly size: number
}

/**
 * Promises: `put` is all or nothing, durable and listed when it returns, and fails with `exists` when the file is
 * there with other content or another size (the same file again succeeds). `get` of a missing file fails with `not-found`, a range
 * past the end with `integrity.truncated`. `remove` of a missing file succeeds. Unknown is never absent: only a
 * definite answer of the storage gives `not-found` or undefined.
 */
export interface Backend extends AsyncDisposable {
  /** For messages; never a secret. */
  readonly location: string
  readonly traits: {
    readonly connections: number
    readonly readOnly: boolean
    /** Keeps files of kind `parity`; absent is no. Elsewhere they are never there, and a put of one is `unsupported`. */
    readonly parity?: boolean
  }
  /** Makes the folders of an empty repository; `exists` when a config is already there. */
  create(options?: CallOptions): Promise<void>
  put(file: FileRef, data: Uint8Array, options?: CallOptions): Promise<void>
  /** A file to be written piece by piece; absent where a put takes all at once. A wrapper that does something about `put` does not pass it on. */
  stage?(): StagedFile
  get(file: FileRef, range?: FileRange, options?: CallOptions): Promise<Buffer>
  size(file: FileRef, options?: CallOptions): Promise<number | undefined>
  /** Where the file lies on this host, if it does: any thread may read it there. A wrapper that changes what is read does not pass it on. */
  localPath?(file: FileRef): string | undefined
  list(kind: FileKind, options?: CallOptions): AsyncIterable<ListedFile>
  remove(file: FileRef, options?: CallOptions): Promise<void>
  /**
   * Takes a damaged file out of the repository and keeps it beside it, in a folder that restic passes over; returns where it
   * lies then, for people. A crash leaves it in one place or the other, or in both, never in none. Absent where the storage cannot.
   */
  setAside?(file: FileRef, options?: CallOptions): Promise<string>
}
