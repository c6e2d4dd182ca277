// A restore to this host: folders, then contents pack by pack in threads, then links, then attributes of folders.
import { setImmediate } from 'node:timers/promises'
import { isFailure, systemErrorCode, VmlError } from '../base/failure.ts'
import { printable } from '../base/raw-text.ts'
import { stopGrowing } from '../base/sweep.ts'
import { parentPath, pathParts, type RawPath } from '../model/raw-path.ts'
import { openLocalFolders } from '../source/local-folders.ts'
import { openLocalWriter } from '../source/local-write.ts'
import { newRun } from '../source/restore-leftover.ts'
import { standingOf } from '../source/standing.ts'
import type { LocalFiles, PathFailure } from '../source/source.ts'
import { freeMemory } from '../wire/free-memory.ts'
import { openLibc } from '../wire/libc.ts'
import {
  attempt,
  discard,
  ensureFolder,
  itemOf,
  writeContents,
  type WriteState,
} from './restore-local-contents.ts'
import { otherLength } from './restore-damage.ts'
import type { PlannedWrite } from './restore-plan.ts'
import { openRestoreThreads, type RestoreThreads } from './restore-threads.ts'
import { type PlannedRestore, writeParents } from './restore-write.ts'

export interface LocalRestore extends AsyncDisposable {
  /** What is still as it was seen goes; everything else stays, and is returned by its path. */
  remove(): Promise<readonly PathFailure[]>
  /** What was refused is returned by its path; the rest is written. `unavailable.space` when the disk is full. */
  write(): Promise<readonly PathFailure[]>
  readonly threads: RestoreThreads
  /** Files that could not be read, by path; complete when all is written. */
  readonly damaged: ReadonlyMap<RawPath, string>
  /** Chunks of a planned regular file with content of its own or of its first name. */
  chunksOf(write: PlannedWrite): { readonly ids: readonly string[]; readonly lengths: readonly number[] }
}

/**
 * Looks at everything that can be known before the first change: folders on the way are real ones (`conflict` otherwise).
 * Files are damaged of which no index names a blob, or whose length is not what the entry tells.
 */
export async function openLocalRestore(prepared: PlannedRestore, local: LocalFiles): Promise<LocalRestore> {
  const { request, plan } = prepared
  const { owners } = request.destination
  const { repository, signal } = request
  const libc = openLibc(local.temporaryFolder)
  if (!libc) throw new Error('The C library was there when the source was opened')
  const folders = openLocalFolders(libc)
  checkParents(prepared, (path) => folders.open(path))
  const run = newRun()
  const contents = await repository.openContents({ signal })
  // Planning leaves more behind than it keeps, and the threads need room.
  freeMemory()
  stopGrowing()
  const threads = openRestoreThreads({
    key: contents.key,
    temporaryFolder: local.temporaryFolder,
    owners,
    run,
  })
  try {
    const contentPlan = contents.plan()
    const files: PlannedWrite[] = []
    const numbers = openNumbers(plan.writes, files)
    const damaged = new Map<RawPath, string>()
    for (const write of plan.writes) {
      const { path, node, hardLinkTo } = write
      if (node.type !== 'file' || hardLinkTo !== undefined) continue
      files.push(write)
      try {
        const length = await contentPlan.add(node.content ?? [])
        if (length !== (node.size ?? 0)) damaged.set(path, otherLength(length, node.size ?? 0))
      } catch (error) {
        // Of this file: it has its number in the plan all the same.
        if (!isFailure(error, 'integrity.missing') || error.details.blob === undefined) throw error
        damaged.set(path, error.message)
      }
    }
    // Threads have numbers from 0: this one makes names of its own.
    const writer = openLocalWriter({ libc, folders, owners, run, thread: 1000 })
    const state: WriteState = {
      prepared,
      files,
      contents,
      contentPlan,
      threads,
      writer,
      unmade: new Set(plan.writes.flatMap(({ path, node }) => (node.type === 'dir' ? [path] : []))),
      failures: new Map(),
      damaged,
      left: Int32Array.from(files, ({ node }) => node.content?.length ?? 0),
      begun: new Uint8Array(files.length),
      finished: [],
      done: { files: 0, bytes: 0 },
    }
    return {
      threads,
      damaged,
      async remove() {
        const failed = await removePlanned(state)
        folders.clear()
        return failed
      },
      async write() {
        const failures = await writeAll(state)
        // So does writing, and the proof follows.
        freeMemory()
        return failures
      },
      chunksOf(write) {
        const number = numbers.of(write)
        if (number === undefined) return { ids: [], lengths: [] }
        return { ids: files[number]?.node.content ?? [], lengths: contentPlan.chunkLengths(number) }
      },
      async [Symbol.asyncDispose]() {
        await threads[Symbol.asyncDispose]()
        // What is not whole has a name of its own, and goes.
        for (const [number, left] of state.left.entries()) if (left > 0) discard(state, number)
        folders[Symbol.dispose]()
      },
    }
  } catch (error) {
    await threads[Symbol.asyncDispose]()
    folders[Symbol.dispose]()
    throw error
  }
}

/** The number of the file whose content a write has: found at once where writes are asked for in their order. */
function openNumbers(
  writes: readonly PlannedWrite[],
  files: readonly PlannedWrite[],
): { of(write: PlannedWrite): number | undefined } {
  // A table of all paths would take as much as a tenth of the plan; few files have other names.
  const firstNames = new Set<RawPath>()
  for (const { hardLinkTo } of writes) if (hardLinkTo !== undefined) firstNames.add(hardLinkTo)
  let named: Map<RawPath, number> | undefined
  const ofFirstName = (first: RawPath): number | undefined => {
    if (named) return named.get(first)
    named = new Map()
    for (const [at, { path }] of files.entries()) if (firstNames.has(path)) named.set(path, at)
    return named.get(first)
  }
  let next = 0
  return {
    of(write) {
      if (write.hardLinkTo !== undefined) return ofFirstName(write.hardLinkTo)
      if (write.node.type !== 'file') return undefined
      for (let tried = 0; tried < files.length; tried++) {
        const at = next
        next = (next + 1) % files.length
        if (files[at] === write) return at
      }
      return undefined
    },
  }
}

/**
 * Order: contents, each after the folders above it, which only their owner may enter; links and devices; other names of
 * files; attributes of folders, deepest first. Cut off anywhere, a path is as it was or as the entry has it, but for
 * attributes of folders.
 */
async function writeAll(state: WriteState): Promise<readonly PathFailure[]> {
  const { prepared, writer, failures, damaged } = state
  const { plan, request } = prepared
  const links = plan.writes.filter(({ hardLinkTo }) => hardLinkTo !== undefined)
  sweepLeftovers(state)
  await writeContents(state)
  for (const write of plan.writes) {
    const { path, node, hardLinkTo } = write
    ensureFolder(state, node.type === 'dir' ? path : parentPath(path))
    if (node.type !== 'dir' && node.type !== 'file' && hardLinkTo === undefined)
      attempt(state, path, () => writer.makeOther(itemOf(state, write)))
  }
  for (const write of links) {
    const { path, hardLinkTo = path } = write
    const first = failures.get(hardLinkTo)
    const why = damaged.get(hardLinkTo)
    if (why !== undefined) damaged.set(path, why)
    else if (first !== undefined) failures.set(path, first)
    else attempt(state, path, () => writer.makeHardLink(itemOf(state, write), hardLinkTo))
  }
  for (const { path, bytes, attributes } of request.extras) {
    // The entry has one, too, and what stands there stays.
    if (failures.has(path)) continue
    const isPlanned = plan.writes.some((write) => write.path === path)
    const replaces = isPlanned || prepared.endangered.includes(path)
    const standing = prepared.present.get(path)
    // What this plan itself has written there is not what was seen.
    const seen = isPlanned || !standing ? undefined : standingOf(standing)
    attempt(state, path, () => writer.writeWhole({ path, attributes, replaces, seen }, bytes))
  }
  // What is done to a folder changes the times of the one above it.
  const folders = plan.writes.filter(({ node }) => node.type === 'dir')
  folders.sort((left, right) => pathParts(right.path).length - pathParts(left.path).length)
  for (const write of folders) attempt(state, write.path, () => writer.finishFolder(itemOf(state, write)))
  return [...failures].map(([path, message]) => ({ path, message }))
}

/** The process looks after signals so often. */
const removalsAtOnce = 1024

/** Deepest first. */
async function removePlanned({
  prepared,
  writer,
}: Pick<WriteState, 'prepared' | 'writer'>): Promise<readonly PathFailure[]> {
  const { plan, request, present } = prepared
  const refused: Pick<WriteState, 'failures'> = { failures: new Map() }
  for (const [number, { path }] of plan.removals.entries()) {
    if (number % removalsAtOnce === 0) {
      request.reporter.progress({ phase: 'removing', filesDone: number, filesTotal: plan.removals.length })
      await setImmediate()
      request.signal?.throwIfAborted()
    }
    const seen = present.get(path)
    if (seen) attempt(refused, path, () => writer.remove(path, standingOf(seen)))
  }
  return [...refused.failures].map(([path, message]) => ({ path, message }))
}

/** In folders that stood there; what cannot be removed is in nobody's way. */
function sweepLeftovers(state: WriteState): void {
  const { prepared, writer } = state
  const folders = new Set(prepared.plan.writes.map(({ path }) => parentPath(path)))
  for (const folder of folders) {
    if (state.unmade.has(folder) && prepared.present.get(folder)?.type !== 'dir') continue
    try {
      writer.sweep(folder)
    } catch (error) {
      if (systemErrorCode(error) === undefined) throw error
    }
  }
}

const conflictsShownMax = 20

function checkParents(prepared: PlannedRestore, open: (path: RawPath) => void): void {
  const wrong: RawPath[] = []
  for (const path of writeParents(prepared)) {
    try {
      open(path)
    } catch (error) {
      if (systemErrorCode(error) === undefined) throw error
      wrong.push(path)
    }
  }
  const [example] = wrong
  if (example === undefined) return
  throw new VmlError(
    'conflict',
    `Cannot write to this host: "${printable(example)}" is not a real folder there, or a folder above it is a link`,
    {
      details: { paths: wrong.slice(0, conflictsShownMax).map(printable), count: wrong.length },
      hint: 'Nothing was changed. Move that link or file away, or restore to another place with --to',
    },
  )
}
