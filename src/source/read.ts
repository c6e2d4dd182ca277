// Content and full attributes of exactly the paths asked for, as tar on the machine packs them.
import { isFailure, messageOf } from '../base/failure.ts'
import { asRaw } from '../base/raw-text.ts'
import { parseRawPath, type RawPath } from '../model/raw-path.ts'
import type { Segment } from '../model/tree.ts'
import type { Shell, ShellProcess } from '../wire/shell.ts'
import { readTar, type TarEntry } from '../wire/tar-read.ts'
import {
  commandFailure,
  nulTerminated,
  pathBatches,
  protocolFailure,
  startScript,
  xargsAtOnce,
} from './guest-script.ts'
import type { Tools } from './probe.ts'
import type { ReadFile, ReadRecord } from './source.ts'
import { explainMissing, statFiles } from './stat.ts'
import { parseMessages } from './tool-messages.ts'

/** tar is silent while it looks for the holes of a large file. */
const readSilenceMs = 600_000
const nsPerSecond = 1_000_000_000n
/** busybox takes names as arguments only. */
const busyboxBatch = { countMax: 500, bytesMax: 60_000 }

/**
 * Each path comes once, as a file or as a problem. A problem for a path that has already come says that its content
 * is not what the file holds (the disk could not be read): what was read of it must be dropped.
 */
export async function* readFiles(
  shell: Shell,
  tools: Tools,
  paths: readonly RawPath[],
  signal?: AbortSignal,
): AsyncIterable<ReadRecord> {
  if (paths.length === 0) return
  const missing = new Set<string>(paths)
  if (tools.tar === 'gnu') yield* readByGnuTar(shell, tools, { paths, missing, signal })
  else yield* readByBusyboxTar(shell, tools, { paths, missing, signal })
  yield* explainMissing(shell, [...missing] as RawPath[], signal, 'It could not be opened')
}

interface Reading {
  readonly paths: readonly RawPath[]
  /** Paths leave this set as they come. */
  readonly missing: Set<string>
  readonly signal: AbortSignal | undefined
}

async function* readByGnuTar(
  shell: Shell,
  tools: Tools,
  { paths, missing, signal }: Reading,
): AsyncIterable<ReadRecord> {
  await using process = await startScript(shell, {
    // Records as large as what is read of a pipe at once: the default of 10 KiB costs a call for each.
    script: `exec tar -c -f - -b 128 --format=posix --sparse ${tools.tarXattrs ? "--xattrs '--xattrs-include=*'" : ''} \\
      --no-recursion --null --verbatim-files-from --no-unquote --warning=none --quoting-style=escape -C / -T -`,
    stdin: nulTerminated(relativeNames(paths)),
    idleTimeoutMs: readSilenceMs,
    signal,
  })
  yield* readEntries(shell, process.stdout, missing)
  const outcome = await process.outcome
  // 1 says that files changed while they were read, 2 that some could not be read: both are seen path by path.
  if (outcome.status > 2) throw commandFailure(shell, 'read files', outcome)
  const { messages, complete } = parseMessages(outcome.stderr, 'tar')
  for (const { path, text } of messages) {
    // tar fills up with zeros what it could not read, and goes on.
    if (path !== undefined && text.startsWith('Read error ') && !missing.has(path))
      yield { kind: 'problem', path, problem: 'unreadable', message: text }
  }
  if (!complete && outcome.status === 2) throw commandFailure(shell, 'read so many unreadable files', outcome)
}

/**
 * busybox's tar gives up where a file is shorter than it was: the file is filled up with a hole, so that it is seen
 * as changed, and another tar goes on behind it.
 */
async function* readByBusyboxTar(
  shell: Shell,
  tools: Tools,
  { paths, missing, signal }: Reading,
): AsyncIterable<ReadRecord> {
  for (const batch of pathBatches(paths, busyboxBatch)) {
    const times = await modificationTimes(shell, tools, { paths: batch, signal })
    let left: readonly RawPath[] = batch
    while (left.length > 0) {
      await using process = await startScript(shell, {
        script: `${xargsAtOnce} tar -c -f - --no-recursion -C / --`,
        stdin: nulTerminated(relativeNames(left)),
        idleTimeoutMs: readSilenceMs,
        signal,
      })
      let last: RawPath | undefined
      const cutShort = async (): Promise<boolean> => {
        const { status, stderr } = await process.outcome
        return status > 0 && status < 124 && /short read/.test(stderr.toString('latin1'))
      }
      for await (const record of readEntries(shell, process.stdout, missing, cutShort)) {
        last = record.path
        yield withTime(record, times.get(record.path))
      }
      const outcome = await process.outcome
      if (outcome.status > 123) throw commandFailure(shell, 'read files', outcome)
      left = last !== undefined && (await cutShort()) ? left.slice(left.indexOf(last) + 1) : []
    }
  }
}

/** busybox packs whole seconds, and none before 1970; its stat may know better. */
async function modificationTimes(
  shell: Shell,
  tools: Tools,
  { paths, signal }: { readonly paths: readonly RawPath[]; readonly signal: AbortSignal | undefined },
): Promise<ReadonlyMap<RawPath, bigint>> {
  const times = new Map<RawPath, bigint>()
  for await (const record of statFiles(shell, tools, paths, signal))
    if (record.kind === 'item') times.set(record.path, record.attributes.mtimeNs)
  return times
}

/** Takes the finer time when it is the same one: else the file has changed in between, and is to be seen so. */
function withTime(file: ReadFile, finer: bigint | undefined): ReadFile {
  if (finer === undefined) return file
  const packed = file.attributes.mtimeNs
  const same = finer < 0n ? packed === 0n : finer - (finer % nsPerSecond) === packed
  return same ? { ...file, attributes: { ...file.attributes, mtimeNs: finer } } : file
}

/** Relative to the root: nothing an absolute name would make tar do, and no byte longer than the path. */
function relativeNames(paths: readonly RawPath[]): string[] {
  return paths.map((path) => (path === '/' ? '.' : path.slice(1)))
}

/** `cutShort` tells whether an archive that ends too early does so because a file had become shorter. */
async function* readEntries(
  shell: Shell,
  stdout: ShellProcess['stdout'],
  missing: Set<string>,
  cutShort?: () => Promise<boolean>,
): AsyncIterable<ReadFile> {
  try {
    for await (const entry of readTar(stdout)) {
      const path = parseRawPath(asRaw(`/${entry.name}`))
      const hardLinkTo =
        entry.hardLinkTo === undefined ? undefined : parseRawPath(asRaw(`/${entry.hardLinkTo}`))
      if (path === undefined || (entry.hardLinkTo !== undefined && hardLinkTo === undefined))
        throw protocolFailure(shell, 'it packed a file under a name that is none')
      if (!missing.delete(path)) throw protocolFailure(shell, 'it packed a file that was not asked for')
      yield {
        kind: 'file',
        path,
        attributes: entry.attributes,
        ...(hardLinkTo === undefined ? {} : { hardLinkTo }),
        segments: () => checkedSegments(shell, entry, cutShort),
      }
    }
  } catch (error) {
    if (isFailure(error, 'integrity.truncated') && (await cutShort?.())) return
    throw asProtocolFailure(shell, error)
  }
}

async function* checkedSegments(
  shell: Shell,
  entry: TarEntry,
  cutShort: (() => Promise<boolean>) | undefined,
): AsyncIterable<Segment> {
  let length = 0
  try {
    for await (const segment of entry.segments()) {
      length += segment.kind === 'hole' ? segment.length : segment.bytes.length
      yield segment
    }
  } catch (error) {
    if (!isFailure(error, 'integrity.truncated') || !(await cutShort?.()))
      throw asProtocolFailure(shell, error)
    const missing = (entry.attributes.size ?? 0) - length
    if (missing > 0) yield { kind: 'hole', length: missing }
  }
}

/** Damage in a stream from a machine is not damage in the store. */
function asProtocolFailure(shell: Shell, error: unknown): unknown {
  if (!isFailure(error, 'integrity.truncated', 'integrity.format')) return error
  return protocolFailure(shell, `its tar stream is damaged (${messageOf(error)})`, error)
}
