// Downloads one file: resumed where it broke off, checked while it streams, under its name only when it is right.
import { createHash, type Hash } from 'node:crypto'
import { constants, createReadStream } from 'node:fs'
import {
  chmod,
  type FileHandle,
  link,
  open,
  readFile,
  rename,
  rm,
  stat,
  statfs,
  unlink,
} from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { isFailure, systemErrorCode, VmlError } from '../base/failure.ts'
import { syncFolder, writeFileDurable } from '../base/files.ts'
import type { Reporter } from '../base/progress.ts'
import { printableText } from '../base/raw-text.ts'
import type { Checksum } from './checksum-file.ts'
import { httpGet } from './http-get.ts'
import type { Fetch } from '../wire/http-request.ts'

export interface DownloadRequest {
  /** Tried in this order. */
  readonly urls: readonly string[]
  readonly checksum: Checksum
  readonly sizeBytes?: number
  /** Where the whole file comes to stand, as `target(sha256)`. */
  readonly target: (sha256: string) => string
  /** Where it grows; `<part>.json` beside it remembers which answer it is the beginning of. */
  readonly part: string
  readonly fetch: Fetch
  readonly clock: Clock
  readonly idleTimeoutMs: number
  readonly signal?: AbortSignal | undefined
  readonly reporter: Reporter
}

// A connection that breaks is taken up again this often in a row without a single new byte.
const barrenTriesMax = 3
const retryPauseMs = 500
// Without a size from anybody, a body without end would fill the disk.
const sizeBytesMax = 4 * 1024 ** 4
const progressBytes = 1024 * 1024

/** Gives the file's SHA-256 and size. Must not run twice at once for one `part`. */
export async function download(request: DownloadRequest): Promise<{ sha256: string; sizeBytes: number }> {
  const failures: unknown[] = []
  for (const url of request.urls) {
    try {
      return await downloadFrom(url, request)
    } catch (error) {
      if (!isFailure(error, 'image.unobtainable', 'unavailable.network', 'unavailable.timeout')) throw error
      failures.push(error)
    }
  }
  const [first] = failures
  if (failures.length === 1 && isFailure(first, 'image.unobtainable')) throw first
  const said = failures.map((failure) => (failure instanceof Error ? failure.message : String(failure)))
  const kept = await sizeOf(request.part)
  throw new VmlError(
    'image.unobtainable',
    said.length === 0 ? 'Cannot obtain the image: nobody says where it is' : said.join('; '),
    {
      cause: first,
      details: { urls: request.urls, bytesKept: kept },
      hint: kept > 0 ? `${kept} bytes are kept: the next try goes on from there` : 'Try again later',
    },
  )
}

async function downloadFrom(url: string, request: DownloadRequest) {
  let barren = 0
  for (;;) {
    const before = await sizeOf(request.part)
    try {
      const found = await finish(url, request, await fetchPart(url, request))
      if (found !== undefined) return found
    } catch (error) {
      if (!isFailure(error, 'unavailable.network', 'unavailable.timeout'))
        throw await spaceFailure(error, request)
      barren = (await sizeOf(request.part)) > before ? 0 : barren + 1
      if (barren >= barrenTriesMax) throw error
      await request.clock.sleep(retryPauseMs * barren, { signal: request.signal })
    }
  }
}

interface Fetched {
  readonly digests: Digests
  readonly sizeBytes: number
  /** Some of it was there before. */
  readonly resumed: boolean
}

/** Appends to the part what it lacks, and hashes all of it. */
async function fetchPart(url: string, request: DownloadRequest): Promise<Fetched> {
  const have = await sizeOf(request.part)
  if (have > 0 && have === request.sizeBytes)
    return { digests: await hashFile(request.part, request.signal), sizeBytes: have, resumed: true }
  const validator = have > 0 ? await readValidator(request.part, url) : undefined
  const headers = validator === undefined ? {} : { range: `bytes=${have}-`, 'if-range': validator }
  await using answer = await httpGet(url, { ...request, headers })
  const goesOn = answer.status === 206 && startOf(answer.headers.get('content-range')) === have
  if (!goesOn && answer.status !== 200) {
    if (validator !== undefined) {
      // The server will not go on from here (416, or a range that was not asked for): from the start, then.
      await unlink(request.part)
      return await fetchPart(url, request)
    }
    const message = `Cannot obtain "${printableText(url)}": the server answers ${answer.status}`
    throw new VmlError('image.unobtainable', message, {
      details: { url, status: answer.status },
      hint: 'Nothing was started. See whether the address is right, or whether the publisher has moved it',
    })
  }
  const start = goesOn ? have : 0
  await checkSpace(request, start)
  await writeValidator(request.part, { url, headers: answer.headers })
  const flags = constants.O_WRONLY | constants.O_CREAT | (goesOn ? 0 : constants.O_TRUNC)
  const hashes = startHashes()
  if (goesOn) await updateFrom(request.part, hashes, request.signal)
  await using file = await open(request.part, flags, 0o600)
  const sizeBytes = await append(file, start, answer.body, { url, request, hashes })
  return { digests: endHashes(hashes), sizeBytes, resumed: goesOn }
}

async function append(
  file: FileHandle,
  start: number,
  body: AsyncIterable<Uint8Array>,
  { url, request, hashes }: { url: string; request: DownloadRequest; hashes: Hashes },
): Promise<number> {
  let position = start
  let reported = -progressBytes
  for await (const chunk of body) {
    if (position + chunk.length > (request.sizeBytes ?? sizeBytesMax)) {
      await unlink(request.part)
      throw wrong(url, `it is longer than the ${request.sizeBytes ?? sizeBytesMax} bytes it should have`)
    }
    for (let written = 0; written < chunk.length;)
      written += (await file.write(chunk, written, chunk.length - written, position + written)).bytesWritten
    hashes.sha256.update(chunk)
    hashes.sha512.update(chunk)
    position += chunk.length
    if (position - reported >= progressBytes || position === request.sizeBytes) {
      reported = position
      request.reporter.progress({
        phase: 'downloading',
        bytesDone: position,
        ...(request.sizeBytes === undefined ? {} : { bytesTotal: request.sizeBytes }),
        item: printableText(url),
      })
    }
  }
  await file.sync()
  return position
}

/** Checks the whole part and moves it to its place; undefined: it was wrong, and one more try from the start is due. */
async function finish(url: string, request: DownloadRequest, { digests, sizeBytes: size, resumed }: Fetched) {
  const { checksum, part, sizeBytes } = request
  if ((sizeBytes === undefined || size === sizeBytes) && digests[checksum.algorithm] === checksum.hex) {
    await settle(part, request.target(digests.sha256))
    return { sha256: digests.sha256, sizeBytes: size }
  }
  await unlink(part)
  await rm(`${part}.json`, { force: true })
  if (resumed) return undefined
  if (sizeBytes !== undefined && size !== sizeBytes)
    throw wrong(url, `it ends after ${size} of ${sizeBytes} bytes`)
  throw wrong(url, `its ${checksum.algorithm} is ${digests[checksum.algorithm]}, not ${checksum.hex}`)
}

/** Gives a whole, checked file its name. Never replaces a file: the same name is the same content. */
export async function settle(part: string, target: string): Promise<void> {
  await chmod(part, 0o400)
  try {
    await link(part, target)
  } catch (error) {
    const code = systemErrorCode(error)
    if (code !== 'EEXIST') {
      // Some file systems have no hard links.
      if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'ENOSYS') throw error
      await rename(part, target)
    }
  }
  await rm(part, { force: true })
  await rm(`${part}.json`, { force: true })
  await syncFolder(dirname(target))
}

export interface Digests {
  readonly sha256: string
  readonly sha512: string
}

export async function hashFile(path: string, signal?: AbortSignal): Promise<Digests> {
  const hashes = startHashes()
  await updateFrom(path, hashes, signal)
  return endHashes(hashes)
}

interface Hashes {
  readonly sha256: Hash
  readonly sha512: Hash
}

function startHashes(): Hashes {
  return { sha256: createHash('sha256'), sha512: createHash('sha512') }
}

async function updateFrom(path: string, { sha256, sha512 }: Hashes, signal?: AbortSignal) {
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 }) as AsyncIterable<Buffer>) {
    signal?.throwIfAborted()
    sha256.update(chunk)
    sha512.update(chunk)
  }
}

function endHashes({ sha256, sha512 }: Hashes): Digests {
  return { sha256: sha256.digest('hex'), sha512: sha512.digest('hex') }
}

async function readValidator(part: string, url: string): Promise<string | undefined> {
  try {
    const stored: unknown = JSON.parse(await readFile(`${part}.json`, 'utf8'))
    if (typeof stored !== 'object' || stored === null || !('url' in stored) || !('validator' in stored))
      return undefined
    return stored.url === url && typeof stored.validator === 'string' ? stored.validator : undefined
  } catch {
    // Without it the file starts anew.
    return undefined
  }
}

/** RFC 9110 13.1.5: only a strong validator may be used to go on. */
async function writeValidator(part: string, { url, headers }: { url: string; headers: Headers }) {
  const etag = headers.get('etag')
  const validator = etag !== null && !etag.startsWith('W/') ? etag : headers.get('last-modified')
  await writeFileDurable(`${part}.json`, JSON.stringify({ url, validator }))
}

function startOf(contentRange: string | null): number | undefined {
  const match = /^bytes (\d{1,15})-/.exec(contentRange ?? '')
  return match === null ? undefined : Number(match[1])
}

async function checkSpace(request: DownloadRequest, have: number) {
  if (request.sizeBytes === undefined) return
  const { bavail, bsize } = await statfs(dirname(request.part))
  const needed = request.sizeBytes - have
  if (bavail * bsize < needed)
    throw noSpace(request, `${needed} bytes are needed, ${bavail * bsize} are free`)
}

async function spaceFailure(error: unknown, request: DownloadRequest): Promise<unknown> {
  const code = systemErrorCode(error)
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return error
  // What is left of a full disk is worth more than the bytes that came so far.
  await rm(request.part, { force: true })
  await rm(`${request.part}.json`, { force: true })
  return noSpace(request, 'no space is left', error)
}

function noSpace(request: DownloadRequest, why: string, cause?: unknown): VmlError {
  return new VmlError('unavailable.space', `Cannot keep the image in "${dirname(request.part)}": ${why}`, {
    cause,
    hint: 'Free some space and try again; nothing incomplete was kept',
  })
}

function wrong(url: string, why: string): VmlError {
  return new VmlError('image.unobtainable', `Cannot take "${printableText(url)}": ${why}`, {
    details: { url },
    hint: 'Nothing of it was kept; the publisher may be replacing it just now, or something between changes it',
  })
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return 0
    throw error
  }
}
