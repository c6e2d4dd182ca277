// The base images of this computer: kept by digest, several versions side by side, fetched from catalogues and plain URLs.
//
//   FOLDER/
//     items/SHA256               a disk, kernel or initrd: whole, checked, read-only; its name is its digest
//     records/SHA256.json        an image: name, version, digests of its items; the name is the digest of its identity
//     parts/ALGORITHM-HEX        an item that is on its way; .json: what it is the beginning of; .lock: who fetches it
//
// Items come first, the record last: what has a record is whole. No name of a catalogue is ever a name in this folder.
import { createHash } from 'node:crypto'
import { type FileHandle, open, readdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type Clock, systemClock } from '../base/clock.ts'
import { isFailure, messageOf, systemErrorCode, VmlError } from '../base/failure.ts'
import { makePrivateFolder, writeFileDurable } from '../base/files.ts'
import { type Reporter, silentReporter } from '../base/progress.ts'
import { printableText } from '../base/raw-text.ts'
import {
  compareVersionNames,
  findImage,
  type ImageItem,
  type ImageRecord,
  type ImageRequest,
  type ImageRole,
  itemsOf,
  type ResolvedImage,
  resolveImage,
} from '../model/image.ts'
import { formatImageReference } from '../model/machine.ts'
import { readCatalogue } from './catalogue.ts'
import type { Checksum } from './checksum-file.ts'
import { download, hashFile, settle } from './download.ts'
import type { Fetch } from '../wire/http-request.ts'
import { imageIdentity, parseImageRecordJson } from './image-record.ts'
import { type PlainUrl, readPlainUrl } from './plain-url.ts'
import { takeLock } from './process-lock.ts'

/** An image whose every item lies here, whole. */
export interface LocalImage {
  readonly record: ImageRecord
  readonly paths: { readonly disk: string; readonly kernel?: string; readonly initrd?: string }
}

export interface ListedImage {
  readonly record: ImageRecord
  readonly isLocal: boolean
  /** The catalogue that offers it. */
  readonly catalogue?: string
}

export interface ImageOptions {
  readonly signal?: AbortSignal | undefined
  readonly reporter?: Reporter
}

export interface ImageLibrary {
  /** Everything known, by name and version. A catalogue that cannot be read is a warning. */
  list(options?: ImageOptions): Promise<ListedImage[]>
  /** An image that lies here, without asking anybody. */
  find(request: ImageRequest): Promise<LocalImage | undefined>
  /** Which image answers, here or in a catalogue; asks catalogues only when nothing here is what was asked for. */
  resolve(request: ImageRequest, options?: ImageOptions & Offered): Promise<ResolvedImage>
  /** The same, and fetches what is missing. Safe to be called for one image by several processes at once. */
  pull(request: ImageRequest, options?: ImageOptions & Offered): Promise<LocalImage>
  /** An image at a plain URL with a checksum file beside it. */
  pullUrl(source: PlainUrl, options?: ImageOptions): Promise<LocalImage>
  /** Takes in an image whose bytes come from somewhere else, a share for example; checked as a download is. */
  importImage(
    record: ImageRecord,
    contents: (role: ImageRole, item: ImageItem) => AsyncIterable<Uint8Array>,
    options?: ImageOptions,
  ): Promise<LocalImage>
  /** Reads every item again; `integrity.hash` when one is not what its name says. */
  verify(image: LocalImage, options?: ImageOptions): Promise<void>
}

interface Offered {
  /** Records from elsewhere, an entry or a share, that count as one more catalogue. Their digests are checked, so their source need not be trusted. */
  readonly offered?: readonly ImageRecord[]
}

const idleTimeoutMsDefault = 30_000
const recordsMax = 10_000

/** The library in a folder, which is made on first use. `catalogues` are roots of simplestreams mirrors. */
export function openImageLibrary({
  folder,
  catalogues,
  fetch = globalThis.fetch,
  clock = systemClock,
  idleTimeoutMs = idleTimeoutMsDefault,
}: {
  folder: string
  catalogues: readonly string[]
  fetch?: Fetch
  clock?: Clock
  idleTimeoutMs?: number
}): ImageLibrary {
  const itemPath = (sha256: string) => join(folder, 'items', sha256)
  const partPath = ({ algorithm, hex }: Checksum) => join(folder, 'parts', `${algorithm}-${hex}`)
  const http = { fetch, idleTimeoutMs }
  // Read once: a library lives as long as one command.
  const read = new Map<string, Promise<ImageRecord[]>>()

  async function prepare() {
    for (const name of ['items', 'records', 'parts']) await makePrivateFolder(join(folder, name))
  }

  async function localImages({ reporter }: ImageOptions = {}): Promise<LocalImage[]> {
    const images: LocalImage[] = []
    for (const name of (await namesIn(join(folder, 'records'))).slice(0, recordsMax)) {
      if (!/^[0-9a-f]{64}\.json$/.test(name)) continue
      const path = join(folder, 'records', name)
      try {
        const image = localImage(parseImageRecordJson(await readFile(path), path))
        if (await isWhole(image)) images.push(image)
      } catch (error) {
        // An image whose record was damaged is one that is not here: it can be fetched again.
        if (!isFailure(error, 'integrity.format')) throw error
        reporter?.warn({ warning: error.message })
      }
    }
    return images
  }

  function localImage(record: ImageRecord): LocalImage {
    const { disk, kernel, initrd } = record.items
    return {
      record,
      paths: {
        disk: itemPath(disk.sha256),
        ...(kernel === undefined ? {} : { kernel: itemPath(kernel.sha256) }),
        ...(initrd === undefined ? {} : { initrd: itemPath(initrd.sha256) }),
      },
    }
  }

  async function isWhole({ record }: LocalImage): Promise<boolean> {
    for (const { item } of itemsOf(record)) {
      if (!(await hasSize(itemPath(item.sha256), item.sizeBytes))) return false
    }
    return true
  }

  /** All catalogues that answer; those that do not are in `failures`. */
  async function remoteImages(options: ImageOptions) {
    const found: { catalogue: string; record: ImageRecord }[] = []
    const failures: VmlError[] = []
    for (const catalogue of catalogues) {
      const records = read.get(catalogue) ?? readCatalogue(catalogue, { ...http, signal: options.signal })
      read.set(catalogue, records)
      try {
        for (const record of await records) found.push({ catalogue, record })
      } catch (error) {
        read.delete(catalogue)
        if (!isFailure(error, 'image.unobtainable', 'unavailable.network', 'unavailable.timeout')) throw error
        failures.push(error)
        options.reporter?.warn({ warning: error.message })
      }
    }
    return { found, failures }
  }

  async function find(request: ImageRequest): Promise<LocalImage | undefined> {
    const local = await localImages()
    const found = findImage(request, { local: local.map(({ record }) => record), catalogues: [] })
    return local.find(({ record }) => record === found?.record)
  }

  async function resolve(
    request: ImageRequest,
    { offered = [], ...options }: ImageOptions & Offered = {},
  ): Promise<ResolvedImage> {
    const local = (await localImages(options)).map(({ record }) => record)
    const near = findImage(request, { local, catalogues: offered })
    // The same name with other bytes is taken only when no catalogue has the very bytes.
    if (near !== undefined && !near.digestDiffers) return near
    const { found, failures } = await remoteImages(options)
    try {
      return resolveImage(request, { local, catalogues: [...offered, ...found.map(({ record }) => record)] })
    } catch (error) {
      const [failure] = failures
      if (!isFailure(error, 'image.unobtainable') || failure === undefined) throw error
      throw new VmlError('image.unobtainable', `${error.message}; ${failure.message}`, {
        details: error.details,
        cause: failure,
        hint: 'Try again when the catalogue can be reached',
      })
    }
  }

  async function withPart<T>(checksum: Checksum, options: ImageOptions, work: (part: string) => Promise<T>) {
    await prepare()
    const part = partPath(checksum)
    const onWait = () =>
      options.reporter?.progress({ phase: 'waiting', item: 'another download of the same image' })
    using _lock = await takeLock(`${part}.lock`, { clock, signal: options.signal, onWait })
    return await work(part)
  }

  async function fetchItem(item: ImageItem, options: ImageOptions) {
    const checksum: Checksum = { algorithm: 'sha256', hex: item.sha256 }
    await withPart(checksum, options, async (part) => {
      if (await hasSize(itemPath(item.sha256), item.sizeBytes)) return
      await download({ ...item, checksum, target: itemPath, part, clock, ...http, ...reporting(options) })
    })
  }

  async function importItem(item: ImageItem, content: AsyncIterable<Uint8Array>, options: ImageOptions) {
    await withPart({ algorithm: 'sha256', hex: item.sha256 }, options, async (part) => {
      const target = itemPath(item.sha256)
      if (await hasSize(target, item.sizeBytes)) return
      try {
        await rm(`${part}.json`, { force: true })
        await copyChecked(content, { part, item, signal: options.signal })
        await settle(part, target)
      } finally {
        await rm(part, { force: true })
      }
    })
  }

  /** Last of all: from here on the image can be found. */
  async function keepRecord(record: ImageRecord): Promise<LocalImage> {
    const name = createHash('sha256').update(imageIdentity(record)).digest('hex')
    await writeFileDurable(join(folder, 'records', `${name}.json`), `${JSON.stringify(record, null, 2)}\n`)
    return localImage(record)
  }

  return {
    find,
    resolve,

    async list(options = {}) {
      const local = (await localImages(options)).map(({ record }) => record)
      const { found } = await remoteImages(options)
      const here = new Set(local.map(imageIdentity))
      const there = new Map(found.map(({ catalogue, record }) => [imageIdentity(record), catalogue]))
      const onlyThere = found.filter(({ record }) => !here.has(imageIdentity(record)))
      const listed = [
        ...local.map((record) => ({ record, isLocal: true, ...offeredBy(there.get(imageIdentity(record))) })),
        ...onlyThere.map(({ record, catalogue }) => ({ record, isLocal: false, catalogue })),
      ]
      return listed.toSorted(
        (left, right) =>
          left.record.name.localeCompare(right.record.name, 'en') ||
          compareVersionNames(left.record.version, right.record.version),
      )
    },

    async pull(request, options = {}) {
      const { record, where, digestDiffers } = await resolve(request, options)
      if (digestDiffers) {
        const warning = `Nobody has the very image of the entry any more; "${formatImageReference(record)}" has other bytes`
        options.reporter?.warn({ warning })
      }
      if (where === 'local') return localImage(record)
      for (const { item } of itemsOf(record)) await fetchItem(item, options)
      return await keepRecord(record)
    },

    async pullUrl(source, options = {}) {
      const { checksum, toRecord } = await readPlainUrl(source, { ...http, signal: options.signal })
      const { sha256, sizeBytes } = await withPart(checksum, options, async (part) => {
        if (checksum.algorithm === 'sha256') {
          const sizeBytes = await sizeOf(itemPath(checksum.hex))
          if (sizeBytes !== undefined) return { sha256: checksum.hex, sizeBytes }
        }
        const urls = [source.url]
        return await download({
          urls,
          checksum,
          target: itemPath,
          part,
          clock,
          ...http,
          ...reporting(options),
        })
      })
      const path = itemPath(sha256)
      return await keepRecord(await toRecord({ path, sha256, sizeBytes }))
    },

    async importImage(record, contents, options = {}) {
      for (const { role, item } of itemsOf(record)) await importItem(item, contents(role, item), options)
      return await keepRecord(record)
    },

    async verify({ record }, { signal } = {}) {
      for (const { item } of itemsOf(record)) {
        const path = itemPath(item.sha256)
        const { sha256 } = await hashFile(path, signal)
        if (sha256 === item.sha256) continue
        throw new VmlError('integrity.hash', `Cannot trust "${path}": its sha256 is ${sha256}`, {
          hint: `Remove the file and run vml image pull ${formatImageReference(record)}`,
        })
      }
    },
  }
}

function reporting({ signal, reporter = silentReporter }: ImageOptions) {
  return { signal, reporter }
}

function offeredBy(catalogue: string | undefined): { catalogue?: string } {
  return catalogue === undefined ? {} : { catalogue }
}

async function copyChecked(
  content: AsyncIterable<Uint8Array>,
  { part, item, signal }: { part: string; item: ImageItem; signal: AbortSignal | undefined },
) {
  const hash = createHash('sha256')
  let bytes = 0
  try {
    await using file: FileHandle = await open(part, 'w', 0o600)
    for await (const chunk of content) {
      signal?.throwIfAborted()
      bytes += chunk.length
      if (bytes > item.sizeBytes) break
      hash.update(chunk)
      await file.writeFile(chunk)
    }
    await file.sync()
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOSPC') throw error
    throw new VmlError('unavailable.space', `Cannot keep the image: ${printableText(messageOf(error))}`, {
      cause: error,
    })
  }
  const sha256 = hash.digest('hex')
  if (bytes === item.sizeBytes && sha256 === item.sha256) return
  throw new VmlError('integrity.hash', 'Cannot take the image in: its content is not what its record says', {
    details: { expected: item.sha256, found: sha256, bytes },
    hint: 'Nothing of it was kept',
  })
}

async function namesIn(path: string): Promise<string[]> {
  try {
    return (await readdir(path)).toSorted()
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return []
    throw error
  }
}

async function hasSize(path: string, sizeBytes: number): Promise<boolean> {
  return (await sizeOf(path)) === sizeBytes
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
}
