// Unpacks a compressed stream: what Node can by itself, the rest by the programs that packed it.
import { Readable } from 'node:stream'
import { constants, createGunzip, createZstdDecompress } from 'node:zlib'
import { VmlError, systemErrorCode } from '../base/failure.ts'
import { startChild } from './child-process.ts'

/** As rpm and dpkg name them. */
export type Packing = 'none' | 'gzip' | 'zstd' | 'xz' | 'lzma' | 'bzip2'

/** What a decoder of zstd must set aside: 128 MiB, the most that `zstd --ultra` writes. */
const zstdWindowLogMax = 27
/** What xz may take: `xz -9` takes 65 MiB, and archives exist that would take all there is. */
const xzMemory = '512MiB'
/** The end of what a program says of a damaged stream. */
const messageBytes = 300

const programs = {
  xz: ['xz', '-dc', '-T1', `--memlimit-decompress=${xzMemory}`],
  lzma: ['xz', '-dc', '--format=lzma', `--memlimit-decompress=${xzMemory}`],
  bzip2: ['bzip2', '-dc'],
} as const satisfies Partial<Record<Packing, readonly string[]>>

/**
 * `what` is for messages. A damaged stream is `integrity.format`, one that ends early `integrity.truncated`, and `unsupported`
 * a program that is not here. What is not read to its end leaves nothing running.
 */
export async function* unpackStream(
  stream: AsyncIterable<Uint8Array>,
  {
    packing,
    what,
    signal,
  }: { readonly packing: Packing; readonly what: string; readonly signal?: AbortSignal | undefined },
): AsyncGenerator<Buffer, void> {
  if (packing === 'none') for await (const chunk of stream) yield asBuffer(chunk)
  else if (packing === 'gzip') yield* byNode(stream, createGunzip(), what)
  else if (packing === 'zstd')
    yield* byNode(
      stream,
      createZstdDecompress({ params: { [constants.ZSTD_d_windowLogMax]: zstdWindowLogMax } }),
      what,
    )
  else yield* byProgram(stream, programs[packing], { what, signal })
}

async function* byNode(
  stream: AsyncIterable<Uint8Array>,
  decoder: ReturnType<typeof createGunzip | typeof createZstdDecompress>,
  what: string,
): AsyncGenerator<Buffer, void> {
  const source = Readable.from(stream, { objectMode: false })
  // A failure of the source is told as it is, not as one of the decoder.
  let failure: unknown
  source.on('error', (error) => {
    failure = error
    decoder.destroy(error)
  })
  try {
    for await (const chunk of source.pipe(decoder) as AsyncIterable<Buffer>) yield chunk
  } catch (error) {
    if (failure !== undefined) throw failure
    const code = systemErrorCode(error)
    if (code === undefined || !/^(Z_|ZSTD_|ERR_)/.test(code)) throw error
    throw code === 'Z_BUF_ERROR'
      ? new VmlError('integrity.truncated', `Cannot unpack ${what}: it ends early`, { cause: error })
      : damaged(what, error)
  } finally {
    source.destroy()
    decoder.destroy()
  }
}

async function* byProgram(
  stream: AsyncIterable<Uint8Array>,
  command: readonly [string, ...string[]],
  { what, signal }: { readonly what: string; readonly signal?: AbortSignal | undefined },
): AsyncGenerator<Buffer, void> {
  await using child = startChild({ command, stdin: stream, label: `"${command[0]}" on this host`, signal })
  try {
    yield* child.stdout
    const { status, stderr } = await child.outcome
    if (status !== 0) throw damaged(what, new Error(stderr.subarray(-messageBytes).toString('latin1')))
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error
    throw new VmlError('unsupported', `Cannot unpack ${what}: this host has no program "${command[0]}"`, {
      hint: `Install ${command[0] === 'xz' ? 'xz-utils' : command[0]}`,
      cause: error,
    })
  }
}

function damaged(what: string, cause: unknown): VmlError {
  return new VmlError('integrity.format', `Cannot unpack ${what}: it is damaged`, { cause })
}

function asBuffer(chunk: Uint8Array): Buffer {
  return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
}
