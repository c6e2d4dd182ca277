// One thread of a restore to this host: reads a piece of a pack, opens each blob once, writes it to all its places; reads back.
import { closeSync, openSync, readSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import { isFailure } from '../base/failure.ts'
import { openSweep } from '../base/sweep.ts'
import { openLocalFolders } from '../source/local-folders.ts'
import { type Chunk, openLocalReader } from '../source/local-digest.ts'
import { openLocalWriter } from '../source/local-write.ts'
import { type BlobDecoder, openBlobDecoder } from '../store/blob-decoder.ts'
import { freeMemory } from '../wire/free-memory.ts'
import { openLibc } from '../wire/libc.ts'
import {
  type Bytes,
  type ItemFailure,
  type JobItem,
  type JobResult,
  type ProveJob,
  type RestoreJob,
  type Seen,
  type ThreadAnswer,
  type ThreadData,
  unpackItems,
  type WriteJob,
} from './restore-jobs.ts'

interface Hands {
  work(job: RestoreJob): JobResult
  end(): void
}

function answer(hands: Hands, job: number, work: RestoreJob): ThreadAnswer {
  try {
    return { kind: 'result', job, result: hands.work(work) }
  } catch (error) {
    const code = codeOf(error)
    if (code === 'ENOSPC' || code === 'EDQUOT') return { kind: 'space', job, message: String(error) }
    return { kind: 'defect', job, error }
  }
}

function openHands({ key, temporaryFolder, owners, run, thread }: ThreadData): Hands {
  const libc = openLibc(temporaryFolder)
  if (!libc) throw new Error('The C library was there in another thread')
  const folders = openLocalFolders(libc)
  const writer = openLocalWriter({ libc, folders, owners, run, thread })
  const reader = openLocalReader(libc, folders)
  let decoder: BlobDecoder | undefined
  const packs = openPackFiles()
  const sweep = openSweep()
  let proving = false

  const write = (job: WriteJob): JobResult => {
    const items = unpackItems(job.items)
    const failures = new Map<number, string>()
    const bad: number[] = []
    const bytes = packs.bytesOf(job.from)
    let target = 0
    for (const [blob, id] of job.ids.entries()) {
      const plain = bytes && openOne(job, { blob, id, bytes })
      if (plain === undefined) bad.push(blob)
      for (; job.targets[target * 3] === blob; target++) {
        const number = job.targets[target * 3 + 1] ?? 0
        const item = items[number]
        if (plain === undefined || item === undefined || failures.has(number)) continue
        attempt(failures, number, () => {
          if (item.part === undefined) writer.writeWhole(item, plain)
          else writer.writePart(item, { part: item.part, at: job.targets[target * 3 + 2] ?? 0, bytes: plain })
        })
      }
    }
    return { failures: listed(failures), bad, seen: [] }
  }
  const openOne = (
    job: WriteJob,
    { blob, id, bytes }: { readonly blob: number; readonly id: string; readonly bytes: Uint8Array },
  ): Uint8Array | undefined => {
    if (job.from.kind === 'plain') return bytes
    const [start = 0, length = 0, plain = -1] = job.blobs.subarray(blob * 3, blob * 3 + 3)
    try {
      const sealed = bytes.subarray(start, start + length)
      sweep(length)
      decoder ??= openBlobDecoder(key)
      return decoder.open({ id, sealed, plainLength: plain < 0 ? undefined : plain })
    } catch (error) {
      // It may lie elsewhere too: whoever knows all places is asked, and says what is wrong.
      if (isFailure(error)) return undefined
      throw error
    }
  }
  const each = (items: readonly JobItem[], task: (item: JobItem) => void): JobResult => {
    const failures = new Map<number, string>()
    for (const [number, item] of items.entries()) attempt(failures, number, () => task(item))
    return { failures: listed(failures), bad: [], seen: [] }
  }
  const prove = (job: ProveJob): JobResult => {
    const seen: Seen[] = []
    let chunk = 0
    for (const [number, wish] of unpackItems(job.items).entries()) {
      const count = job.counts[number] ?? -1
      const chunks: Chunk[] = []
      for (const end = chunk + Math.max(count, 0); chunk < end; chunk++)
        chunks.push({ id: job.ids[chunk] ?? '', length: job.lengths[chunk] ?? 0 })
      const found = lookAt(wish, {
        chunks,
        count,
        told: job.told[number] === 1,
        from: number === 0 ? job.from : 0,
      })
      if (found) seen.push({ item: number, ...found })
    }
    return { failures: [], bad: [], seen }
  }
  /** Undefined where all is as it should be and nobody wants to hear more. */
  const lookAt = (
    { path, attributes: wish }: JobItem,
    { chunks, count, told, from }: { chunks: readonly Chunk[]; count: number; told: boolean; from: number },
  ): Omit<Seen, 'item'> | undefined => {
    let refused: string | undefined
    const compare = () => {
      try {
        return reader.compare(path, { from, chunks })
      } catch (error) {
        // Another type may stand there, or it cannot be read: what can be told of it is told.
        refused = codeOf(error)
        if (refused === undefined) throw error
        return undefined
      }
    }
    try {
      const compared = wish.type === 'file' && count >= 0 ? compare() : undefined
      const content = compared && (compared.isEqual ? 'equal' : 'other')
      const found = !compared || told ? reader.look(path, { xattrs: told }) : compared.attributes
      const same =
        wish.type === found.type &&
        (wish.mode === found.mode || wish.type === 'symlink') &&
        (!owners || (wish.uid === found.uid && wish.gid === found.gid)) &&
        wish.mtimeNs === found.mtimeNs &&
        wish.size === found.size &&
        wish.linkTarget === found.linkTarget
      if (same && !told && content !== 'other' && refused === undefined) return undefined
      return {
        found,
        ...(content === undefined ? {} : { content }),
        ...(refused === undefined ? {} : { code: refused }),
      }
    } catch (error) {
      const code = codeOf(error)
      if (code === undefined) throw error
      return { code }
    }
  }
  return {
    work(job) {
      // What was opened while writing is looked for again by its name.
      if (job.do === 'prove' && !proving) {
        writer.closeParts()
        folders.clear()
        // What was written with makes room for what is read with.
        packs.close()
        decoder = undefined
        freeMemory()
      }
      proving = job.do === 'prove'
      switch (job.do) {
        case 'write':
          return write(job)
        case 'empty':
          return each(unpackItems(job.items), (item) => writer.writeWhole(item, new Uint8Array()))
        case 'finish':
          return each(unpackItems(job.items), (item) => writer.finishPart(item, item.part ?? -1))
        case 'prove':
          return prove(job)
      }
    },
    end() {
      writer.closeParts()
      folders.clear()
      packs.close()
    },
  }
}

/** Failures of the system belong to the path; that the disk is full belongs to all, and other errors are defects. */
function attempt(failures: Map<number, string>, number: number, task: () => void): void {
  try {
    task()
  } catch (error) {
    const code = codeOf(error)
    if (code === undefined || code === 'ENOSPC' || code === 'EDQUOT') throw error
    failures.set(number, code)
  }
}

function listed(failures: ReadonlyMap<number, string>): ItemFailure[] {
  return [...failures].map(([item, code]) => ({ item, code }))
}

function codeOf(error: unknown): string | undefined {
  const isSystems = error instanceof Error && 'syscall' in error && 'code' in error
  return isSystems ? String(error.code) : undefined
}

/** Most pieces of packs have no more. */
const usualBytes = 4 * 1024 * 1024

/** The last pack stays open, its bytes go into one buffer over and over. */
function openPackFiles(): { bytesOf(from: Bytes): Uint8Array | undefined; close(): void } {
  let open: { path: string; file: number } | undefined
  let buffer = Buffer.alloc(0)
  const forget = () => {
    if (open) closeSync(open.file)
    open = undefined
  }
  const close = () => {
    forget()
    buffer = Buffer.alloc(0)
  }
  const fileOf = (path: string): number => {
    if (open?.path === path) return open.file
    forget()
    const file = openSync(path, 'r')
    open = { path, file }
    return file
  }
  return {
    close,
    bytesOf(from) {
      if (from.kind !== 'file') return from.bytes
      const { path, offset, length } = from
      if (buffer.length < length) buffer = Buffer.allocUnsafeSlow(Math.max(length, usualBytes))
      try {
        const file = fileOf(path)
        for (let done = 0; done < length;) {
          const read = readSync(file, buffer, done, length - done, offset + done)
          if (read === 0) return undefined
          done += read
        }
        return buffer.subarray(0, length)
      } catch (error) {
        if (codeOf(error) === undefined) throw error
        return undefined
      }
    },
  }
}

// Last: everything above is there by then.
const port = parentPort
if (port) {
  const hands = openHands(workerData as ThreadData)
  port.on('message', (message: { readonly job: number; readonly work: RestoreJob } | 'end') => {
    if (message !== 'end') return port.postMessage(answer(hands, message.job, message.work))
    hands.end()
    port.close()
  })
}
