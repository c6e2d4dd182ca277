// How the content of a path before a transaction is kept: the cheapest way that was shown to give it back.
import { hash } from 'node:crypto'
import { constants, zstdCompressSync } from 'node:zlib'
import { VmlError } from '../base/failure.ts'
import { printable } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { Fingerprint, PathChange, PreImage } from '../model/transaction.ts'
import { deltaBytesMax, type DeltaWorkspace, makeDelta } from '../wire/zstd-delta.ts'
import type { Reference } from './package-references.ts'

/** A content that will still be on the machine after the transaction. */
export interface DeltaBase {
  readonly path: RawPath
  readonly after: Fingerprint
}

export interface PreImageMeans {
  /** Where it was proven that a package gives the content: `findReferences`. */
  readonly reference?: Reference
  /** The name of a rule that makes it anew. */
  readonly rule?: string
  /** `deltaBases` tells which. */
  readonly base?: DeltaBase
  readonly readBefore: () => Promise<Buffer>
  /** Undefined where it is gone. */
  readonly readAfter: (base: DeltaBase) => Promise<Buffer | undefined>
  /** Largest content that a delta is made of; less than what `makeDelta` takes, where memory is short. */
  readonly deltaContentBytesMax?: number
  /** Of who asks for many. */
  readonly workspace?: DeltaWorkspace
}

export type ChosenPreImage =
  | { readonly preImage: Exclude<PreImage, { kind: 'delta' }> }
  /** `delta` is to be kept as `preImage.file`, and the content at `base` to be pinned. */
  | {
      readonly preImage: Extract<PreImage, { kind: 'delta' }>
      readonly delta: Buffer
      readonly base: RawPath
    }

/** A delta must have less of what the content would take by itself, since it is good only as long as its base is. */
const deltaShareMax = 0.7
/** What a delta costs besides: its name, the pin of its base, the look whether that is still what it was. */
const deltaSavedBytesMin = 512
const comparedBytesMax = 64 * 1024
/** Of text zstd makes a tenth, of programs half: where a delta has this small a part the content itself would take more. */
const farSmaller = 32

/**
 * Package, rule, delta, the content itself, in this order. Contents are compared with the fingerprints as they are read: where that
 * of before differs it is `integrity.hash`, and nothing is chosen; where that of the base does, it was changed meanwhile, and is none.
 */
export async function choosePreImage(
  { path, before }: PathChange,
  {
    reference,
    rule,
    base,
    readBefore,
    readAfter,
    deltaContentBytesMax = deltaBytesMax,
    workspace,
  }: PreImageMeans,
): Promise<ChosenPreImage> {
  if (before?.type !== 'file') return { preImage: { kind: 'fingerprint' } }
  if (reference !== undefined) return { preImage: reference }
  if (rule !== undefined) return { preImage: { kind: 'regenerable', rule } }
  const bytesMax = Math.min(deltaContentBytesMax, deltaBytesMax)
  if (base !== undefined && mayPay(before, bytesMax) && mayPay(base.after, bytesMax)) {
    const old = checked(await readBefore(), before, path)
    const now = await readAfter(base)
    const delta =
      now && isContent(now, base.after)
        ? makeDelta({ old, base: now }, workspace === undefined ? {} : { workspace })
        : undefined
    if (delta !== undefined && pays(delta, old)) {
      const sums = [before.sha256, base.after.sha256]
      // Named for both contents: the same delta twice is one file.
      const file = `${sums.map((sum = '') => sum.slice(0, 32)).join('-')}.zst`
      return {
        preImage: { kind: 'delta', file, base: base.after.sha256 ?? '' },
        delta,
        base: base.path,
      }
    }
  }
  return { preImage: { kind: 'blob' } }
}

function mayPay({ size = 0, sha256 }: Fingerprint, bytesMax: number): boolean {
  return sha256 !== undefined && size > deltaSavedBytesMin && size <= bytesMax
}

function isContent(content: Buffer, { sha256 }: Fingerprint): boolean {
  return hash('sha256', content, 'hex') === sha256
}

function checked(content: Buffer, is: Fingerprint, path: RawPath): Buffer {
  if (isContent(content, is)) return content
  throw new VmlError(
    'integrity.hash',
    `Cannot keep what "${printable(path)}" was: its content is not the one that was seen`,
  )
}

function pays(delta: Buffer, old: Buffer): boolean {
  // To compress what is large only to see that a delta is far smaller would take longer than the delta did.
  if (old.length > comparedBytesMax && delta.length * farSmaller < old.length) return true
  const plain = zstdCompressSync(old, { params: { [constants.ZSTD_c_compressionLevel]: 3 } }).length
  return delta.length < plain * deltaShareMax && plain - delta.length >= deltaSavedBytesMin
}

/**
 * The base of each path's delta: what lies there after the transaction, or, where the file is gone, a file that came with the same
 * name but for its digits and in the same folder but for digits (`libfoo.so.1.2.3` → `libfoo.so.1.2.4`), nearest in size.
 */
export function deltaBases(changes: Iterable<PathChange>): ReadonlyMap<RawPath, DeltaBase> {
  const bases = new Map<RawPath, DeltaBase>()
  const came = new Map<string, DeltaBase[]>()
  const gone: PathChange[] = []
  for (const change of changes) {
    const { path, before, after } = change
    if (after?.type === 'file' && after.sha256 !== undefined) {
      if (before?.type === 'file') bases.set(path, { path, after })
      else came.set(masked(path), [...(came.get(masked(path)) ?? []), { path, after }])
    } else if (before?.type === 'file') gone.push(change)
  }
  for (const { path, before } of gone) {
    const size = before?.size ?? 0
    const distance = ({ after }: DeltaBase) => Math.abs((after.size ?? 0) - size)
    const [nearest] = (came.get(masked(path)) ?? []).toSorted((one, other) => distance(one) - distance(other))
    if (nearest !== undefined) bases.set(path, nearest)
  }
  return bases
}

function masked(path: RawPath): string {
  return path.replace(/\d+/g, '0')
}
