// What is left of an old content where a new one is at hand: one zstd frame that refers to the new one.
// `zstd -d --long=27 --patch-from=NEW DELTA -o OLD` opens it by hand (zstd(1), "--patch-from").
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { messageOf, VmlError } from '../base/failure.ts'
import { loadFfi } from './libc.ts'

/**
 * Of either content: the window of `--long=27`, beyond which a frame cannot refer back. Both contents, the frame and the tables
 * lie in memory at once, some 450 MiB for two of this size, and a second of processor time goes.
 */
export const deltaBytesMax = 128 * 1024 * 1024
/** Less than that costs more to keep an account of than to keep. */
const deltaBytesMin = 128

const windowLogMin = 10
const windowLogMax = 27
/** Of the tables of earlier places: 64 MiB each, an eighth of what zstd would take for level 19. */
const tableLogMax = 24
/** From here on the tables no longer hold every place of the base, and the search for long matches finds what they miss. */
const longMatchBytesMin = 2 * 2 ** tableLogMax
/** Without node:ffi the tables are all there is; a larger base is found in its last part only, which does not pay. */
const plainBytesMax = 2 ** tableLogMax

/** A base that begins like this is read as a table of zstd's own, not as content (RFC 8878, section 5). */
const dictionaryMagic = Buffer.from([0x37, 0xa4, 0x30, 0xec])

export interface Pair {
  readonly old: Uint8Array
  /** What will be at hand when `old` is wanted back. */
  readonly base: Uint8Array
}

/**
 * Opened and compared before it is given out. Undefined where there cannot be one: contents too small, too large, or such that a
 * decoder would misread. It may well be larger than `old` compressed without a base: that is for the caller to weigh.
 */
export function makeDelta(
  { old, base }: Pair,
  { direct = true, workspace }: { readonly direct?: boolean; readonly workspace?: DeltaWorkspace } = {},
): Buffer | undefined {
  if (old.length < deltaBytesMin || base.length < deltaBytesMin) return undefined
  if (old.length > deltaBytesMax || base.length > deltaBytesMax) return undefined
  if (dictionaryMagic.equals(base.subarray(0, dictionaryMagic.length))) return undefined
  const delta =
    (direct ? compressDirectly({ old, base }, workspace) : undefined) ?? compressPlainly({ old, base })
  if (delta === undefined) return undefined
  return open({ delta, base, sizeBytes: old.length, direct }).equals(old) ? delta : undefined
}

/**
 * The tables of one delta for the next one: of two contents of 20 MB they take 128 MiB, and the kernel hands out fresh memory ten times slower than zstd fills it.
 * For whoever makes many, one after the other; they go when it is disposed of.
 */
export interface DeltaWorkspace extends Disposable {
  /** `ZSTD_CCtx *`, made when it is first asked for; null where it cannot be had. */
  compressor(): bigint
}

export function openDeltaWorkspace(): DeltaWorkspace {
  let context = 0n
  return {
    compressor() {
      bound ??= tryBind()
      if (context === 0n && bound !== null) context = bound.ZSTD_createCCtx()
      return context
    },
    [Symbol.dispose]() {
      if (context !== 0n) bound?.ZSTD_freeCCtx(context)
      context = 0n
    },
  }
}

/**
 * The old content. `sizeBytes` is the size that it must have, where that is known. A base that is not the one it was made with, and
 * a damaged delta, fail with `integrity.format`: the frame carries a checksum of its content.
 */
export function applyDelta(
  {
    delta,
    base,
    sizeBytes,
  }: { readonly delta: Uint8Array; readonly base: Uint8Array; readonly sizeBytes?: number },
  { direct = true }: { readonly direct?: boolean } = {},
): Buffer {
  for (const length of [base.length, sizeBytes ?? 0])
    if (length > deltaBytesMax) throw unopened(`a content has more than ${deltaBytesMax} bytes`)
  let old: Buffer
  try {
    old = open({ delta, base, sizeBytes, direct })
  } catch (cause) {
    throw unopened(`it is damaged, or its base is another one (${messageOf(cause)})`, cause)
  }
  if (sizeBytes !== undefined && old.length !== sizeBytes)
    throw unopened(`it holds ${old.length} bytes instead of ${sizeBytes}`)
  return old
}

function unopened(why: string, cause?: unknown): VmlError {
  return new VmlError('integrity.format', `Cannot open a delta: ${why}`, { cause })
}

interface Opening {
  readonly delta: Uint8Array
  readonly base: Uint8Array
  readonly sizeBytes: number | undefined
  readonly direct: boolean
}

function open({ delta, base, sizeBytes, direct }: Opening): Buffer {
  const opened =
    direct && sizeBytes !== undefined ? decompressDirectly({ delta, base, sizeBytes }) : undefined
  if (opened !== undefined) return opened
  return zstdDecompressSync(delta, {
    dictionary: base,
    maxOutputLength: Math.max(sizeBytes ?? deltaBytesMax, 1),
    rejectGarbageAfterEnd: true,
    params: { [constants.ZSTD_d_windowLogMax]: windowLogMax },
  })
}

/**
 * Level 3 with tables that hold the whole base: a third to a half of what `zstd -3 --long=27 --patch-from` writes, in the time of
 * a plain level 6. All of the base can be referred to as long as the window holds all of `old` (zstd.h, ZSTD_CCtx_refPrefix).
 */
function settings({ old, base }: Pair): readonly (readonly [number, number])[] {
  const windowLog = logOf(Math.max(old.length, base.length), windowLogMax)
  const tableLog = logOf(base.length + old.length, tableLogMax)
  return [
    [constants.ZSTD_c_compressionLevel, 3],
    [constants.ZSTD_c_windowLog, windowLog],
    [constants.ZSTD_c_hashLog, tableLog],
    [constants.ZSTD_c_chainLog, tableLog],
    [constants.ZSTD_c_checksumFlag, 1],
    ...(base.length >= longMatchBytesMin ? [[constants.ZSTD_c_enableLongDistanceMatching, 1] as const] : []),
  ]
}

function logOf(bytes: number, most: number): number {
  return Math.min(most, Math.max(windowLogMin, Math.ceil(Math.log2(bytes + 1))))
}

/** By Node's own way, which takes the base for a dictionary. The decoder cannot tell the difference. */
function compressPlainly({ old, base }: Pair): Buffer | undefined {
  if (base.length > plainBytesMax) return undefined
  return zstdCompressSync(old, { dictionary: base, params: Object.fromEntries(settings({ old, base })) })
}

/** zstd.h, "Prefix" and "Advanced compression API", all of it stable. Node offers its zstd to add-ons, as it does OpenSSL. */
const signatures = {
  ZSTD_createCCtx: { arguments: [], return: 'pointer' },
  ZSTD_freeCCtx: { arguments: ['pointer'], return: 'u64' },
  ZSTD_CCtx_reset: { arguments: ['pointer', 'i32'], return: 'u64' },
  ZSTD_CCtx_setParameter: { arguments: ['pointer', 'i32', 'i32'], return: 'u64' },
  ZSTD_CCtx_refPrefix: { arguments: ['pointer', 'buffer', 'u64'], return: 'u64' },
  ZSTD_compressBound: { arguments: ['u64'], return: 'u64' },
  ZSTD_compress2: { arguments: ['pointer', 'buffer', 'u64', 'buffer', 'u64'], return: 'u64' },
  ZSTD_createDCtx: { arguments: [], return: 'pointer' },
  ZSTD_freeDCtx: { arguments: ['pointer'], return: 'u64' },
  ZSTD_DCtx_refPrefix: { arguments: ['pointer', 'buffer', 'u64'], return: 'u64' },
  ZSTD_decompressDCtx: { arguments: ['pointer', 'buffer', 'u64', 'buffer', 'u64'], return: 'u64' },
  ZSTD_isError: { arguments: ['u64'], return: 'u32' },
} as const

/** ZSTD_reset_session_and_parameters */
const resetAll = 3

/** Null where it was found not to be there. One for each thread, never closed. */
let bound: ReturnType<typeof bind> | null | undefined

function bind() {
  return loadFfi().dlopen(null, signatures).functions
}

function tryBind(): ReturnType<typeof bind> | null {
  // oxlint-disable-next-line node/no-process-env -- as for OpenSSL's functions: one switch for all of them
  if (process.env['VML_NO_FFI']) return null
  try {
    return bind()
  } catch {
    return null
  }
}

/** With the base as a prefix, searched where it lies. Undefined where that cannot be called, or says that it failed. */
function compressDirectly({ old, base }: Pair, given?: DeltaWorkspace): Buffer | undefined {
  bound ??= tryBind()
  if (bound === null) return undefined
  const zstd = bound
  using own = given ? undefined : openDeltaWorkspace()
  const context = (given ?? own)?.compressor() ?? 0n
  if (context === 0n) return undefined
  try {
    const isDone = (result: bigint) => zstd.ZSTD_isError(result) === 0
    for (const [parameter, value] of settings({ old, base }))
      if (!isDone(zstd.ZSTD_CCtx_setParameter(context, parameter, value))) return undefined
    // The base is held by its place in memory: nothing is made between this call and the next but the call.
    const room = Buffer.allocUnsafeSlow(Number(zstd.ZSTD_compressBound(BigInt(old.length))))
    if (!isDone(zstd.ZSTD_CCtx_refPrefix(context, base, BigInt(base.length)))) return undefined
    const length = zstd.ZSTD_compress2(context, room, BigInt(room.length), old, BigInt(old.length))
    return isDone(length) ? Buffer.from(room.subarray(0, Number(length))) : undefined
  } finally {
    // Neither the place of the base nor what failed holds for the next one.
    zstd.ZSTD_CCtx_reset(context, resetAll)
  }
}

/** Without a copy of the base or of pieces. Undefined where that cannot be called, or fails: Node's own way then says why. */
function decompressDirectly({
  delta,
  base,
  sizeBytes,
}: {
  readonly delta: Uint8Array
  readonly base: Uint8Array
  readonly sizeBytes: number
}): Buffer | undefined {
  bound ??= tryBind()
  // No pointer can be made of nothing.
  if (bound === null || sizeBytes === 0 || delta.length === 0 || base.length === 0) return undefined
  const zstd = bound
  const context = zstd.ZSTD_createDCtx()
  if (context === 0n) return undefined
  try {
    const isDone = (result: bigint) => zstd.ZSTD_isError(result) === 0
    const old = Buffer.allocUnsafeSlow(sizeBytes)
    if (!isDone(zstd.ZSTD_DCtx_refPrefix(context, base, BigInt(base.length)))) return undefined
    const length = zstd.ZSTD_decompressDCtx(context, old, BigInt(sizeBytes), delta, BigInt(delta.length))
    return isDone(length) && Number(length) === sizeBytes ? old : undefined
  } finally {
    zstd.ZSTD_freeDCtx(context)
  }
}
