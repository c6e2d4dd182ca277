// Gets the content of a path before or after a recorded transaction, however it was kept, and proves it by its hash.
import { createHash, type Hash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { isFailure, systemErrorCode, VmlError } from '../base/failure.ts'
import { printable, rawToBytes } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { PreImage, RecordedChange } from '../model/transaction.ts'
import { asSegments, type Segment } from '../model/tree.ts'
import type { Repository } from '../store/store.ts'
import { entryName, type LoggedEntry } from '../engine/entries.ts'
import { type ContentOf, openEntryContents } from './entry-contents.ts'
import { type ReadTransaction, sha256Of } from './transaction-entry.ts'

export interface ContentParts {
  readonly repository: Repository
  /** Every transaction of this machine, oldest first; those that came later may hold what an older one needs. */
  readonly transactions: () => Promise<readonly ReadTransaction[]>
  /** Where the live content with this hash is kept by a link, if it is. */
  pinned(sha256: string): RawPath | undefined
  applyDelta(delta: Uint8Array, base: Uint8Array): Buffer
  /** A file of a package of a source that does not forget. */
  fromPackage(reference: Extract<PreImage, { kind: 'reference' }>, sha256: string): Promise<Buffer>
  /** Fails as `fromPackage` does where it is known that the package is gone; fetches nothing. */
  requirePackage?(reference: Extract<PreImage, { kind: 'reference' }>): Promise<void>
  /** Files of this host are none of the machine's: no path of it is looked at here. */
  readonly isElsewhere?: boolean
  readonly signal?: AbortSignal | undefined
}

/** A file is held in memory while it is rebuilt; larger ones are kept as blobs, and written piece by piece: `segmentsBefore`. */
export const contentBytesMax = 1024 * 1024 * 1024
/** Each upgrade of a file adds one delta; the oldest are dropped long before. */
const chainMax = 200

export interface TransactionContents {
  /** Of a regular file before it. Fails with `integrity.missing` where it can be had no more, `integrity.hash` where it is another. */
  before(transaction: ReadTransaction, change: RecordedChange): Promise<Buffer>
  /** Fails as `before` does where it could not be had, and reads no more of it than that takes: a plan is not to promise it. */
  requireBefore(transaction: ReadTransaction, change: RecordedChange): Promise<void>
  /** The same in order, of any size. That it is another one is known, and fails, only when all of it was given. */
  segmentsBefore(transaction: ReadTransaction, change: RecordedChange): AsyncIterable<Segment>
  /** Of a regular file after it; undefined where it can be had no more. */
  after(transaction: ReadTransaction, change: RecordedChange): Promise<Buffer | undefined>
}

export function openTransactionContents(parts: ContentParts): TransactionContents {
  const { repository, signal } = parts
  const entries = openEntryContents(repository, { signal })
  const read = async (entry: LoggedEntry, what: ContentOf) => await entries.read(entry, what, contentBytesMax)

  const before = async (
    { entry }: ReadTransaction,
    change: RecordedChange,
    /** What is being rebuilt: a file that went from A to B and back has deltas both ways. */
    rebuilding: ReadonlySet<RecordedChange>,
  ): Promise<Buffer> => {
    const { path, before: wanted, preImage } = change
    // What was written in place before anybody saw it has no hash either.
    const why = neverHad(preImage)
    if (why !== undefined) throw lost(entry, path, why)
    if (wanted?.type !== 'file' || wanted.sha256 === undefined)
      throw new TypeError('Only a regular file has content')
    const { sha256 } = wanted
    const bytes = await (async () => {
      switch (preImage.kind) {
        case 'blob':
          return await read(entry, { kind: 'before', path })
        case 'reference':
          return await parts.fromPackage(preImage, sha256)
        case 'delta': {
          const base = await bySha256(path, preImage.base, new Set([...rebuilding, change]))
          if (base === undefined) throw lost(entry, path, baseGone)
          return parts.applyDelta(await read(entry, { kind: 'delta', name: preImage.file }), base)
        }
        default:
          throw new TypeError('Its kind was looked at before')
      }
    })()
    if (sha256Of(bytes) === sha256) return bytes
    throw another(entry, path)
  }

  const blobBefore = async function* ({ entry }: ReadTransaction, { path, before: wanted }: RecordedChange) {
    const sum = createHash('sha256')
    const { content = [] } = await entries.require(entry, { kind: 'before', path })
    let left = wanted?.size ?? Infinity
    for await (const segment of repository.readFile(content, { signal })) {
      left -= segment.kind === 'data' ? segment.bytes.length : segment.length
      // There is room for what the plan counted, and for no more.
      if (left < 0) throw another(entry, path)
      hashSegment(sum, segment)
      yield segment
    }
    if (sum.digest('hex') !== wanted?.sha256) throw another(entry, path)
  }

  /** Undefined where it is another: it may have been written into between the commit and the record. */
  const keptAfter = async ({ entry }: ReadTransaction, { path, after, afterKept }: RecordedChange) => {
    const kept = afterKept ? await read(entry, { kind: 'after', path }) : undefined
    return kept && sha256Of(kept) === after?.sha256 ? kept : undefined
  }

  const known = once(async () => contentsOf(await parts.transactions()))

  /** Content with this hash that the path has, or that any path had at some time. */
  const bySha256 = async (
    path: RawPath,
    sha256: string,
    rebuilding: ReadonlySet<RecordedChange>,
  ): Promise<Buffer | undefined> => {
    for (const place of [parts.isElsewhere ? undefined : path, parts.pinned(sha256)]) {
      const bytes = place && readFileOf(place)
      if (bytes && sha256Of(bytes) === sha256) return bytes
    }
    for (const { transaction, change } of (await known()).get(sha256) ?? []) {
      const kept = change.after?.sha256 === sha256 ? await keptAfter(transaction, change) : undefined
      if (kept) return kept
      if (rebuilding.has(change) || rebuilding.size > chainMax) continue
      try {
        return await before(transaction, change, rebuilding)
      } catch (error) {
        // Another transaction may have it.
        if (!isFailure(error, 'integrity.missing')) throw error
      }
    }
    return undefined
  }

  return {
    before: async (transaction, change) => await before(transaction, change, new Set()),
    async requireBefore({ entry }, change) {
      const { path, preImage } = change
      if (preImage.kind !== 'delta') {
        const why = neverHad(preImage)
        if (why !== undefined) throw lost(entry, path, why)
        if (preImage.kind === 'reference') await parts.requirePackage?.(preImage)
        return
      }
      const pin = parts.pinned(preImage.base)
      if (pin !== undefined && existsSync(rawToBytes(pin))) return
      if ((await bySha256(path, preImage.base, new Set([change]))) === undefined)
        throw lost(entry, path, baseGone)
    },
    async *segmentsBefore(transaction, change) {
      if (change.preImage.kind === 'blob') yield* blobBefore(transaction, change)
      else yield* asSegments(await before(transaction, change, new Set()))
    },
    async after(transaction, change) {
      const { path, after } = change
      if (after?.type !== 'file' || after.sha256 === undefined) return undefined
      return (await keptAfter(transaction, change)) ?? (await bySha256(path, after.sha256, new Set()))
    },
  }
}

const baseGone = 'the file that its delta was made against is gone'

/** Why a record has no content of it; undefined where it has. */
function neverHad(preImage: PreImage): string | undefined {
  switch (preImage.kind) {
    case 'lost':
      return preImage.reason
    case 'regenerable':
      return `it is made anew by the rule "${preImage.rule}"`
    case 'fingerprint':
      return 'the record says that it needs no content'
    default:
      return undefined
  }
}

interface KnownContent {
  readonly transaction: ReadTransaction
  readonly change: RecordedChange
}

/** Where contents are kept, by their hash; what a later transaction has comes first, since older ones lose theirs first. */
function contentsOf(transactions: readonly ReadTransaction[]): Map<string, KnownContent[]> {
  const found = new Map<string, KnownContent[]>()
  const add = (sha256: string | undefined, content: KnownContent) => {
    if (sha256 === undefined) return
    const others = found.get(sha256)
    if (others) others.push(content)
    else found.set(sha256, [content])
  }
  for (const transaction of transactions.toReversed())
    for (const change of transaction.changes) {
      if (change.afterKept) add(change.after?.sha256, { transaction, change })
      if (isKept(change.preImage)) add(change.before?.sha256, { transaction, change })
    }
  return found
}

const zeros = Buffer.alloc(64 * 1024)

function hashSegment(sum: Hash, segment: Segment): void {
  if (segment.kind === 'data') sum.update(segment.bytes)
  else
    for (let left = segment.length; left > 0; left -= zeros.length)
      sum.update(left < zeros.length ? zeros.subarray(0, left) : zeros)
}

function once<Result>(make: () => Promise<Result>): () => Promise<Result> {
  let made: Promise<Result> | undefined
  return () => (made ??= make())
}

function isKept({ kind }: PreImage): boolean {
  return kind === 'blob' || kind === 'delta' || kind === 'reference'
}

function readFileOf(path: RawPath): Buffer | undefined {
  try {
    return readFileSync(rawToBytes(path))
  } catch (error) {
    const code = systemErrorCode(error)
    if (elsewhere.includes(code ?? '')) return undefined
    throw error
  }
}

/** No such content here; or none for this user, who looks after a copy of the records. */
const elsewhere: readonly string[] = ['ENOENT', 'ENOTDIR', 'EISDIR', 'ELOOP', 'EACCES', 'EPERM']

function another(entry: LoggedEntry, path: RawPath): VmlError {
  return new VmlError(
    'integrity.hash',
    `Cannot get "${printable(path)}" as it was before ${entryName(entry)}: what was kept is not the same file`,
    {
      details: { path: printable(path) },
      hint: 'Nothing was changed. vml check tells whether the logbook is damaged',
    },
  )
}

function lost(entry: LoggedEntry, path: RawPath, why: string): VmlError {
  return new VmlError(
    'integrity.missing',
    `Cannot get "${printable(path)}" as it was before ${entryName(entry)}: ${why}`,
    {
      details: { path: printable(path) },
      hint: 'Nothing was changed. vml tx show tells which pre-images a transaction lacks',
    },
  )
}
