// Files that are sealed as a whole: config, index, snapshots, locks (restic, doc/design.rst, "Unpacked Data Format").
import { hash } from 'node:crypto'
import type { Backend, FileKind, FileRef } from '../backend/backend.ts'
import { isFailure, messageOf, VmlError } from '../base/failure.ts'
import { isDenseJson } from '../base/json-density.ts'
import { shortId } from '../model/ids.ts'
import type { Cipher } from './cipher.ts'
import type { CallOptions } from './store.ts'

/** What a sealed file is read with. */
export interface Vault {
  readonly backend: Backend
  readonly cipher: Cipher
  readonly version: 1 | 2
}

type SealedKind = Exclude<FileKind, 'key' | 'pack'>

/** Most bytes of each kind, sealed as well as plain: restic ends an index at 8 MiB, its oldest versions far later. */
const plainBytesMax: Readonly<Record<SealedKind, number>> = {
  config: 64 * 1024,
  lock: 64 * 1024,
  snapshot: 16 * 1024 * 1024,
  index: 512 * 1024 * 1024,
  parity: 64 * 1024,
}
const compressedJson = 2

/** The JSON value of a sealed file. Names the file in every failure. */
export async function readSealedJson(
  vault: Pick<Vault, 'backend' | 'cipher'>,
  file: FileRef & { readonly kind: SealedKind },
  options: CallOptions & { readonly sizeBytes?: number } = {},
): Promise<unknown> {
  return await readSealed(vault, file, parseJson, options)
}

/** What `parse` makes of the plain bytes of a sealed file; what it throws becomes a failure that names the file. */
export async function readSealed<T>(
  { backend, cipher }: Pick<Vault, 'backend' | 'cipher'>,
  file: FileRef & { readonly kind: SealedKind },
  parse: (plain: Buffer) => T,
  options: CallOptions & { readonly sizeBytes?: number } = {},
): Promise<T> {
  const size = options.sizeBytes ?? (await backend.size(file, options))
  if (size === undefined) throw new VmlError('not-found', `Cannot read ${fileTitle(file)}: no such file`)
  if (size > plainBytesMax[file.kind]) throw damaged('integrity.format', file, 'it is too large')
  const sealed = await backend.get(file, undefined, options)
  // Other programs name a config by nothing; every other file by its SHA-256.
  if (file.kind !== 'config' && hash('sha256', sealed) !== file.name) {
    throw damaged('integrity.hash', file, 'its content does not have the hash in its name')
  }
  try {
    return parse(await unwrap(cipher.open(sealed), plainBytesMax[file.kind]))
  } catch (error) {
    if (isFailure(error)) throw damaged(error.code, file, decapitalize(error.message), error)
    throw damaged('integrity.format', file, messageOf(error), error)
  }
}

/** Writes a sealed file and returns its name. Version 1 repositories are never written. */
export async function writeSealedJson(
  vault: Pick<Vault, 'backend' | 'cipher'>,
  kind: SealedKind,
  value: unknown,
  options: CallOptions = {},
): Promise<string> {
  return await writeSealedBytes(vault, kind, Buffer.from(JSON.stringify(value)), options)
}

/** The same for a value that is JSON already. */
export async function writeSealedBytes(
  { backend, cipher }: Pick<Vault, 'backend' | 'cipher'>,
  kind: SealedKind,
  json: Buffer,
  options: CallOptions = {},
): Promise<string> {
  // "The config file cannot be compressed": its version is not known before it is read.
  const plain = kind === 'config' ? json : await compressed(json)
  const sealed = cipher.seal(plain)
  const name = kind === 'config' ? '' : hash('sha256', sealed)
  await backend.put({ kind, name }, sealed, options)
  return name
}

export function fileTitle({ kind, name }: FileRef): string {
  return name === '' ? kind : `${kind} ${shortId(name)}`
}

async function compressed(json: Buffer): Promise<Buffer> {
  const { zstdCompressSync } = await import('node:zlib')
  // In one piece: Node takes 16 KiB at a time and puts them together.
  const frame = zstdCompressSync(json, { chunkSize: json.length + 1024 })
  return Buffer.concat([Buffer.of(compressedJson), frame])
}

/** Opening a logbook reads its config, which is plain: what decompresses is loaded when it is needed. */
async function unwrap(plain: Buffer, bytesMax: number): Promise<Buffer> {
  const [first] = plain
  if (first === compressedJson) {
    const { decompressUnknown } = await import('./zstd.ts')
    return decompressUnknown(plain.subarray(1), bytesMax)
  }
  if (first === 0x5b || first === 0x7b) return plain
  throw new VmlError('integrity.format', 'Cannot decode it: the encoding is not known')
}

function parseJson(text: Buffer): unknown {
  if (isDenseJson(text)) throw new VmlError('integrity.format', 'It names nothing many times over')
  return JSON.parse(text.toString('utf8')) as unknown
}

function damaged(code: VmlError['code'], file: FileRef, why: string, cause?: unknown): VmlError {
  return new VmlError(code, `Cannot read ${fileTitle(file)}: ${why}`, {
    cause,
    details: { kind: file.kind, file: file.name },
    hint:
      file.kind === 'config'
        ? 'Nothing was changed. Put that file back from a copy of the logbook: it cannot be made anew'
        : 'Run vml check to see what is affected',
  })
}

function decapitalize(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1)
}
