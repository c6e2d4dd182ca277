// Takes stock of a machine before it is changed without a stage: its index, everything that lies there kept, and attributes that a change in place would take along.
import { systemErrorCode } from '../base/failure.ts'
import type { ProgressEvent } from '../base/progress.ts'
import { nearestOf, type RawPath } from '../model/raw-path.ts'
import type { RecordedChange } from '../model/transaction.ts'
import type { FolderReader } from '../wire/folder-reader.ts'
import type { Libc } from '../wire/libc.ts'
import { outlineOf, statusAt, typeOf } from './fingerprint.ts'
import { openLiveFarm } from './live-farm.ts'
import { type MountPlan, overlaysOf, viewOf } from './mount-plan.ts'
import { isCopied, type LiveCause } from './mutable-part.ts'
import { entryAt, inodeKey, type RootIndex } from './root-index.ts'
import { scanRoot } from './scan-root.ts'
import { onHost } from './stage-folder.ts'

export interface LiveRequest {
  /** Made with `live`. */
  readonly plan: MountPlan
  readonly cause: LiveCause
  readonly libc: Libc
  readonly reader: FolderReader
  /** Asked before anything is kept; what it throws ends it. */
  requireRoom?(copies: readonly LiveCopies[]): void
  readonly report?: (event: ProgressEvent) => void
  readonly signal?: AbortSignal | undefined
}

/** What is copied to one file system, where it cannot share it. */
export interface LiveCopies {
  readonly folder: RawPath
  readonly bytes: number
}

export interface LiveCapture {
  /** Of the machine as it is kept; a second name has moved the ctime of each file. */
  readonly index: RootIndex
  /** Of what has any: attributes, and where there is no second name, the target of a link and the number of a device. */
  readonly attributes: readonly RecordedChange[]
  /** Folders that could not be read: nothing is said of what lies in them. */
  readonly unread: readonly RawPath[]
}

/** Running services write all the time: what still changes after so many looks is told when it was lost. */
const looksMax = 4

/**
 * A look, names and copies of all that was seen, and a look whether that is still what is there, until it is. What is told is the
 * last look; of what had no name then, nothing is kept.
 */
export function captureLive(request: LiveRequest): LiveCapture {
  const { plan, cause, report, signal } = request
  const farm = openLiveFarm(plan)
  /** By number: how it was kept, and for copies the time of change of what was copied. */
  const kept = new Map<string, { readonly copiedAt?: bigint }>()
  for (let look = 1; ; look++) {
    report?.({ phase: 'taking stock of the machine' })
    const scan = scanRoot(viewOf(plan), request)
    const { index } = scan
    if (look === 1) request.requireRoom?.(copiesOf(request, index))
    let fresh = 0
    for (let row = 0; row < index.paths.length; row++) {
      const path = index.paths[row]
      if (path === undefined) break
      const entry = entryAt(index, row)
      if (typeOf(entry.mode) === 'dir') continue
      const key = inodeKey(entry)
      const known = kept.get(key)
      if (known && (known.copiedAt === undefined || known.copiedAt === entry.ctimeNs)) continue
      if (known) farm.drop(path, entry)
      kept.delete(key)
      if (look === looksMax) continue
      const how = farm.keep(path, entry, isCopied(path, entry.size, cause))
      fresh++
      // What cannot be kept is not tried again either.
      kept.set(key, how === 'link' ? {} : { copiedAt: entry.ctimeNs })
      if (row % pathsAtOnce === 0) signal?.throwIfAborted()
    }
    if (fresh === 0 || look === looksMax)
      return {
        index,
        attributes: attributesOf(request, index),
        unread: scan.unread.map(({ path }) => path),
      }
  }
}

const pathsAtOnce = 512
/** Of the file systems that are staged or kept; a file takes whole ones. */
const blockBytes = 4096

function copiesOf({ plan, cause }: LiveRequest, index: RootIndex): LiveCopies[] {
  const mounts = new Map(overlaysOf(plan).map((each) => [each.path, each]))
  const bytes = new Map<RawPath, number>()
  for (const [row, path] of index.paths.entries()) {
    const { mode, size } = entryAt(index, row)
    if (typeOf(mode) !== 'file' || !isCopied(path, size, cause)) continue
    const layer = nearestOf(path, mounts)?.layer
    if (layer === undefined) continue
    bytes.set(layer, (bytes.get(layer) ?? 0) + Math.ceil(size / blockBytes) * blockBytes)
  }
  return [...bytes].map(([layer, sum]) => ({ folder: onHost(plan, layer), bytes: sum }))
}

/** One call of the system for each path: few have any, but where SELinux labels them. */
function attributesOf({ plan, libc }: LiveRequest, index: RootIndex): RecordedChange[] {
  const found: RecordedChange[] = []
  const farm = openLiveFarm(plan)
  for (const [row, path] of index.paths.entries()) {
    const entry = entryAt(index, row)
    const type = typeOf(entry.mode)
    const isPlain = type === 'file' || type === 'dir'
    const place = onHost(plan, path)
    try {
      if (isPlain ? libc.listXattrs(place).length === 0 : farm.placeOf(path, entry) !== undefined) continue
      const status = statusAt(libc, place)
      if (status === undefined || status.inode !== entry.inode) continue
      const before = outlineOf(libc, place, status)
      found.push({
        path,
        before,
        owner: { kind: 'script' },
        preImage: { kind: 'fingerprint' },
        afterKept: false,
      })
    } catch (error) {
      // It went while we looked.
      if (!['ENOENT', 'ENOTDIR', 'EINVAL'].includes(systemErrorCode(error) ?? '')) throw error
    }
  }
  return found
}
