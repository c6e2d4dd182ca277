// An image at a plain URL, as Debian and CernVM publish them: its checksum file, its format by its first bytes, a record for it.
import { open } from 'node:fs/promises'
import { isFailure, VmlError } from '../base/failure.ts'
import { printableText } from '../base/raw-text.ts'
import { type ImageRecord, type ImageSeed, normalArchitecture } from '../model/image.ts'
import type { ImageReference } from '../model/machine.ts'
import { type Checksum, checksumFileBytesMax, findChecksum, toChecksum } from './checksum-file.ts'
import { checkedUrl, httpGetDocument } from './http-get.ts'
import type { Fetch } from '../wire/http-request.ts'
import { parseImageRecord } from './image-record.ts'

export interface PlainUrl {
  readonly url: string
  /** SHA-256 or SHA-512 in hex. Without it, a checksum file is read. */
  readonly checksum?: string
  /** Default: `<url>.sha256`, then SHA256SUMS and SHA512SUMS beside it. */
  readonly checksumUrl?: string
  /** Default: the file's name, and the first twelve digits of its SHA-256. */
  readonly reference?: ImageReference
  readonly arch?: string
  /** Default `nocloud`, as vendors' cloud images have it. */
  readonly seed?: ImageSeed
  readonly user?: string
}

interface HeldFile {
  readonly path: string
  readonly sha256: string
  readonly sizeBytes: number
}

export async function readPlainUrl(
  source: PlainUrl,
  options: { fetch: Fetch; idleTimeoutMs: number; signal?: AbortSignal | undefined },
): Promise<{ checksum: Checksum; toRecord: (file: HeldFile) => Promise<ImageRecord> }> {
  const url = checkedUrl(source.url)
  const fileName = decoded(url.pathname.slice(url.pathname.lastIndexOf('/') + 1))
  const checksum = await checksumOf(source, { url, fileName, ...options })
  return {
    checksum,
    toRecord: async ({ path, sha256, sizeBytes }) => {
      const stem = fileName.replace(/\.(?:qcow2|img|raw|hdd|iso)$/i, '').replace(/[^\w.+-]/g, '-')
      const record: ImageRecord = {
        name: source.reference?.name ?? stem.replace(/^[^A-Za-z0-9]+/, '').slice(0, 64),
        version: source.reference?.version ?? sha256.slice(0, 12),
        arch: normalArchitecture(source.arch ?? (/arm64|aarch64/i.test(fileName) ? 'aarch64' : 'x86_64')),
        format: await formatOf(path, source.url),
        items: { disk: { sha256, sizeBytes, urls: [url.href] } },
        seed: source.seed ?? 'nocloud',
        ...(source.user === undefined ? {} : { user: source.user }),
      }
      return parseImageRecord(record, source.url)
    },
  }
}

/** A name that is not encoded as a URL is taken as it stands. */
function decoded(name: string): string {
  try {
    return decodeURIComponent(name)
  } catch {
    return name
  }
}

async function checksumOf(
  source: PlainUrl,
  options: {
    url: URL
    fileName: string
    fetch: Fetch
    idleTimeoutMs: number
    signal?: AbortSignal | undefined
  },
): Promise<Checksum> {
  const { url, fileName } = options
  if (source.checksum !== undefined) {
    const checksum = toChecksum(source.checksum)
    if (checksum === undefined)
      throw new VmlError('usage', 'Cannot use the checksum: it is neither SHA-256 nor SHA-512 in hex', {
        hint: 'Nothing was fetched. Copy it as the publisher gives it',
      })
    return checksum
  }
  const beside = ['SHA256SUMS', 'SHA512SUMS'].map((name) => new URL(name, url).href)
  const places = source.checksumUrl === undefined ? [`${url.href}.sha256`, ...beside] : [source.checksumUrl]
  const said: string[] = []
  for (const place of places) {
    try {
      const text = await httpGetDocument(place, { ...options, bytesMax: checksumFileBytesMax })
      const checksum = findChecksum(text.toString('latin1'), fileName)
      if (checksum !== undefined) return checksum
      said.push(`"${place}" has no checksum of "${printableText(fileName)}"`)
    } catch (error) {
      if (!isFailure(error, 'image.unobtainable')) throw error
      said.push(error.message)
    }
  }
  throw new VmlError('image.unobtainable', `Cannot check "${printableText(url.href)}": ${said.join('; ')}`, {
    hint: 'Name its checksum, or the URL of its checksum file',
  })
}

const packedMagics: readonly (readonly [string, string])[] = [
  ['1f8b', 'gzip'],
  ['fd377a58', 'xz'],
  ['28b52ffd', 'zstd'],
  ['504b0304', 'zip'],
]

/** The publisher's file is checked and never written to, so its first bytes tell the truth about it. */
async function formatOf(path: string, url: string): Promise<'qcow2' | 'raw'> {
  await using file = await open(path, 'r')
  const { buffer, bytesRead } = await file.read(Buffer.alloc(4), 0, 4, 0)
  const magic = buffer.subarray(0, bytesRead).toString('hex')
  const packed = packedMagics.find(
    ([start]) => magic === start || (start.length === 4 && magic.startsWith(start)),
  )
  if (packed !== undefined)
    throw new VmlError(
      'unsupported',
      `Cannot start from "${printableText(url)}": it is packed with ${packed[1]}`,
      {
        hint: 'Unpack it, or name the URL of the unpacked image',
      },
    )
  // qemu, docs/interop/qcow2.txt: "QFI\xfb".
  return magic === '514649fb' ? 'qcow2' : 'raw'
}
