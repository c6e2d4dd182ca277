// Proof of a restore to this host: threads read back what stands at every written path, chunk by chunk against the ids.
import { hash } from 'node:crypto'
import { openPool } from '../base/pool.ts'
import { describeSystemError } from '../base/system-error.ts'
import type { RawPath } from '../model/raw-path.ts'
import {
  archiveDifferences,
  attributeDifferences,
  isToldByArchive,
  proveAbsent,
  type ProofReport,
} from './proof.ts'
import { packItems, type JobItem, type ProveJob, type Seen } from './restore-jobs.ts'
import type { LocalRestore } from './restore-local.ts'
import type { PlannedRestore } from './restore-write.ts'

interface Question extends JobItem {
  readonly told: boolean
  readonly ids: readonly string[]
  readonly lengths: readonly number[]
}

/** Of one message to a thread. */
const itemsMax = 512
const bytesMax = 64 * 1024 * 1024

/**
 * A chunk's id is the SHA-256 of its bytes, so that the store need not be read again. Every regular file is read to its
 * end, every name of it; attributes are those that the system tells after all was written.
 */
export async function proveLocally(prepared: PlannedRestore, restore: LocalRestore): Promise<ProofReport> {
  const { plan, request } = prepared
  const { destination, reporter, signal } = request
  const differences: { path: RawPath; what: string }[] = []
  let checked = 0
  let contents = 0
  let bytes = 0
  const pool = openPool(restore.threads.jobsMax)
  try {
    for (const { job, items } of jobsOf(questions(prepared, restore))) {
      signal?.throwIfAborted()
      // The first one may go on with what the job before began.
      checked += items.length - Number(job.from > 0)
      await pool.start(async () => {
        const { seen } = await restore.threads.run(job)
        for (const each of seen) {
          const item = items[each.item]
          if (item) differences.push(...differencesOf(item, each, destination))
        }
        for (const [number, { attributes }] of items.entries()) {
          if ((job.counts[number] ?? -1) < 0 || (number === 0 && job.from > 0)) continue
          contents++
          bytes += attributes.size ?? 0
        }
        reporter.progress({ phase: 'proving', filesDone: checked, filesTotal: plan.writes.length })
      })
    }
  } finally {
    await pool.drain()
  }
  const absent = plan.removals.filter(({ why }) => why === 'not-in-entry').map(({ path }) => path)
  const expected = new Set<RawPath>()
  if (absent.length > 0) for (const { path } of questions(prepared, restore)) expected.add(path)
  differences.push(...(await proveAbsent({ source: destination.source, absent, expected, signal })))
  // The pieces of a large file each tell what its attributes are.
  const apart = new Map(differences.map((each) => [`${each.path}\0${each.what}`, each]))
  return { checked, contents, bytes, absent: absent.length, differences: [...apart.values()] }
}

function* questions({ plan, request, present }: PlannedRestore, restore: LocalRestore): Iterable<Question> {
  const added = new Set(request.extras.map(({ path }) => path))
  for (const write of plan.writes) {
    const { path, node } = write
    if (added.has(path) || restore.damaged.has(path)) continue
    const standing = node.type === 'dir' && present.get(path)?.type === 'dir'
    yield {
      path,
      attributes: node,
      replaces: false,
      told: isToldByArchive({ attributes: node, standing }, true),
      ...(node.type === 'file' ? restore.chunksOf(write) : { ids: [], lengths: [] }),
    }
  }
  for (const { path, attributes, bytes } of request.extras) {
    const chunk = { ids: [hash('sha256', bytes)], lengths: [bytes.length] }
    yield { path, attributes, replaces: false, told: false, ...chunk }
  }
}

interface Asked {
  readonly job: ProveJob
  readonly items: readonly Question[]
}

/** Many small files in one job, a large one in many. */
function* jobsOf(all: Iterable<Question>): Iterable<Asked> {
  let items: Question[] = []
  let counts: number[] = []
  let ids: string[] = []
  let lengths: number[] = []
  let held = 0
  let from = 0
  const take = (nextFrom: number): Asked => {
    const job: ProveJob = {
      do: 'prove',
      items: packItems(items),
      told: Uint8Array.from(items, ({ told }) => Number(told)),
      ids,
      lengths: Float64Array.from(lengths),
      counts: Int32Array.from(counts),
      from,
    }
    const asked = { job, items }
    items = []
    counts = []
    ids = []
    lengths = []
    held = 0
    from = nextFrom
    return asked
  }
  for (const item of all) {
    if (items.length >= itemsMax || held >= bytesMax) yield take(0)
    items.push(item)
    const isFile = item.attributes.type === 'file'
    counts.push(isFile ? 0 : -1)
    let at = 0
    for (const [chunk, id] of item.ids.entries()) {
      const length = item.lengths[chunk] ?? 0
      ids.push(id)
      lengths.push(length)
      counts[counts.length - 1] = (counts.at(-1) ?? 0) + 1
      held += length
      at += length
      if (held < bytesMax || chunk === item.ids.length - 1) continue
      yield take(at)
      items.push(item)
      counts.push(0)
    }
  }
  if (items.length > 0) yield take(0)
}

function differencesOf(
  { path, attributes, told, ids }: Question,
  { found, code, content }: Seen,
  { source, owners }: PlannedRestore['request']['destination'],
): { path: RawPath; what: string }[] {
  if (!found) {
    const gone = code === 'ENOENT' || code === 'ENOTDIR'
    return [{ path, what: gone ? 'is vanished' : `is unreadable (${describeSystemError(code ?? '')})` }]
  }
  const whats = attributeDifferences(attributes, found, { source, owners })
  if (found.type === attributes.type) {
    if (content === 'other') whats.push('has other content')
    else if (code !== undefined && ids.length > 0) whats.push('cannot be read back')
    if (told) whats.push(...archiveDifferences(attributes, found, { xattrs: true, acls: true }))
  }
  return whats.map((what) => ({ path, what }))
}
