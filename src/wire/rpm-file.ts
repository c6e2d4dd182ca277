// Reads an rpm package as it comes: lead, signatures, header, payload (rpm, docs/manual/format.md). The metadata inside rules; the
// name of the file and the lead say nothing.
import { createHash } from 'node:crypto'
import { VmlError } from '../base/failure.ts'
import { asRaw, printable } from '../base/raw-text.ts'
import { openByteReader, type ByteReader } from './byte-reader.ts'
import { badRpm, takeRpmHeader, type RpmHeader } from './rpm-header.ts'
import { readRpmPackage, type RpmPackage } from './rpm-package.ts'
import { readRpmContents, type RpmContent } from './rpm-payload.ts'
import { readSignatures, type RpmSignature } from './rpm-signature.ts'
import { rpmTag, signatureTag } from './rpm-tags.ts'
import { unpackStream, type Packing } from './unpack-stream.ts'

export interface RpmFile {
  readonly package: RpmPackage
  /** Present, not proven: `rpmkeys --checksig` proves. */
  readonly signatures: readonly RpmSignature[]
  /** A sum of the header stood beside it, and was right. A wrong one is a failure. */
  readonly headerProven: boolean
  readonly packing: Packing
  /** What rpm's database keeps of it. */
  readonly header: RpmHeader
  /**
   * The content of each regular file, read and compared with its digest; once only, and each before the next is asked for. The
   * package is closed afterwards, as it is when one stops early.
   */
  contents(): AsyncGenerator<RpmContent, void>
  close(): Promise<void>
}

const leadBytes = 96
const leadMagic = Buffer.from([0xed, 0xab, 0xee, 0xdb])
/** Signatures are padded to it (rpm, docs/manual/format_v4.md). */
const signatureAlignBytes = 8

/** `integrity.format` for what is no package, `integrity.truncated` for half of one, `integrity.hash` where a sum is wrong. */
export async function openRpmFile(
  stream: AsyncIterable<Uint8Array>,
  { signal }: { signal?: AbortSignal | undefined } = {},
): Promise<RpmFile> {
  const reader = openByteReader(stream, 'an rpm package')
  try {
    const lead = await reader.take(leadBytes)
    if (!lead.subarray(0, 4).equals(leadMagic)) throw badRpm('it does not begin as one')
    const signatures = await takeRpmHeader(reader, {
      name: 'the signatures',
      alignBytes: signatureAlignBytes,
    })
    const header = await takeRpmHeader(reader, { name: 'the header' })
    const headerProven = checkHeaderSums(header, signatures)
    const found = readRpmPackage(header)
    const packing = packingOf(header)
    return {
      package: found,
      signatures: readSignatures(signatures),
      headerProven,
      packing,
      header,
      contents: () => payload(reader, { found, packing, signal }),
      close: () => reader.close(),
    }
  } catch (error) {
    await reader.close()
    throw error
  }
}

function checkHeaderSums(header: RpmHeader, signatures: RpmHeader): boolean {
  const sums = [
    ['sha256', signatures.text(signatureTag.sha256)],
    ['sha1', signatures.text(signatureTag.sha1)],
  ] as const
  let proven = false
  for (const [algorithm, expected] of sums) {
    if (expected === undefined) continue
    if (createHash(algorithm).update(header.bytes).digest('hex') !== expected)
      throw new VmlError(
        'integrity.hash',
        `Cannot read an rpm package: its header has another ${algorithm} than it says`,
      )
    proven = true
  }
  return proven
}

const packings: Readonly<Record<string, Packing>> = {
  gzip: 'gzip',
  zstd: 'zstd',
  xz: 'xz',
  lzma: 'lzma',
  bzip2: 'bzip2',
  // A package of one layer without compression says so by the name of rpm's writer.
  uncompressed: 'none',
  identity: 'none',
}

function packingOf(header: RpmHeader): Packing {
  const format = header.text(rpmTag.payloadFormat) ?? 'cpio'
  if (format !== 'cpio')
    throw new VmlError(
      'unsupported',
      `Cannot read an rpm package: its payload is "${printable(format)}", not cpio`,
    )
  // Packages of long ago do not say, and are of gzip.
  const named = header.text(rpmTag.payloadCompressor) ?? asRaw('gzip')
  const packing = packings[named]
  if (packing === undefined)
    throw new VmlError(
      'unsupported',
      `Cannot read an rpm package: its payload is packed by "${printable(named)}"`,
    )
  return packing
}

async function* payload(
  reader: ByteReader,
  {
    found,
    packing,
    signal,
  }: { readonly found: RpmPackage; readonly packing: Packing; readonly signal: AbortSignal | undefined },
): AsyncGenerator<RpmContent, void> {
  const what = `the payload of ${printable(found.name)}`
  const start = Buffer.from(await reader.take(cpioStart.length))
  const unpacked = openByteReader(
    unpackStream(payloadFrom(start, reader), {
      // Where a payload is not packed, the header says nothing of it, as it does of gzip.
      packing: start.equals(cpioStart) ? 'none' : packing,
      what,
      signal,
    }),
    what,
  )
  try {
    yield* readRpmContents(unpacked, found)
  } finally {
    await unpacked.close()
    await reader.close()
  }
}

/** What all forms of cpio archives begin with that rpm writes. */
const cpioStart = Buffer.from('07070')
/** Of what lies ready already. */
const pieceBytes = 1024 * 1024

async function* payloadFrom(start: Buffer, reader: ByteReader): AsyncGenerator<Buffer, void> {
  yield start
  for (;;) {
    const first = await reader.takeOrEnd(1)
    if (first === undefined) return
    yield first
    const second = reader.takeReady(1)
    if (second === undefined) continue
    yield second
    yield await reader.takeSome(pieceBytes)
  }
}
