// Files and folders of an entry that cannot be read any more: a restore goes on without them, leaves what stands there, and says so.
import { VmlError } from '../base/failure.ts'
import { printable } from '../base/raw-text.ts'
import { isWithin, type RawPath } from '../model/raw-path.ts'
import type { Attributes, TreeNode } from '../model/tree.ts'
import { isDamage } from '../store/damage.ts'
import type { RestorePlan } from './restore-plan.ts'
import { dropIdleFolders } from './restore-settle.ts'
import type { RestoreRequest } from './restore-request.ts'

export interface DamagedPath {
  /** As the target calls it. */
  readonly path: RawPath
  /** Of a folder nobody can tell what lies in it. */
  readonly type: 'file' | 'folder'
  readonly why: string
}

/** Looked through before anything is changed, so that what cannot be replaced is not kept in a safety entry each time again. */
const lookedBytesMax = 64 * 1024 * 1024

/**
 * Files of the plan that stand on the target and whose content cannot be read: so many bytes of them, and all of those
 * for which something of another type would have to go first.
 */
export async function findDamagedContents(
  request: RestoreRequest,
  plan: RestorePlan,
  present: ReadonlyMap<RawPath, Attributes>,
): Promise<DamagedPath[]> {
  const damaged: DamagedPath[] = []
  let left = lookedBytesMax
  for (const { path, node, reason, hardLinkTo } of plan.writes) {
    if (node.type !== 'file' || hardLinkTo !== undefined || !present.has(path)) continue
    const size = node.size ?? 0
    if (reason !== 'type' && size > left) continue
    left -= size
    const why = await whyUnreadable(request, node)
    if (why !== undefined) damaged.push({ path, type: 'file', why })
  }
  return damaged
}

async function whyUnreadable(
  { repository, signal }: RestoreRequest,
  { content = [], size = 0 }: TreeNode,
): Promise<string | undefined> {
  let length = 0
  try {
    for await (const segment of repository.readFile(content, { signal }))
      length += segment.kind === 'data' ? segment.bytes.length : segment.length
  } catch (error) {
    if (!isDamage(error)) throw error
    return error.message
  }
  return length === size ? undefined : otherLength(length, size)
}

export function otherLength(length: number, size: number): string {
  return `Its content has ${length} bytes, and the entry says ${size}`
}

/** The plan without those files and without what would have gone for them. Other names of such a file are damaged with it. */
export function withoutDamaged(
  plan: RestorePlan,
  damaged: readonly DamagedPath[],
): { readonly plan: RestorePlan; readonly damaged: readonly DamagedPath[] } {
  if (damaged.length === 0) return { plan, damaged }
  const known = new Map(damaged.map((each) => [each.path, each]))
  for (const { path, hardLinkTo } of plan.writes) {
    const first = hardLinkTo === undefined ? undefined : known.get(hardLinkTo)
    if (first && !known.has(path)) known.set(path, { ...first, path })
  }
  const dropped = plan.writes.filter(({ path }) => known.has(path))
  const typed = dropped.filter(({ reason }) => reason === 'type').map(({ path }) => path)
  const removals = plan.removals.filter(
    ({ path, why }) => why !== 'type' || !typed.some((each) => isWithin(path, each)),
  )
  const writes = plan.writes.filter(({ path }) => !known.has(path))
  const counted = dropped.filter(({ reason }) => reason !== 'folder')
  const created = counted.filter(({ reason }) => reason === 'missing').length
  return {
    damaged: [...known.values()],
    plan: {
      ...plan,
      writes: dropIdleFolders(writes, { removals }),
      removals,
      counts: {
        ...plan.counts,
        created: plan.counts.created - created,
        replaced: plan.counts.replaced - (counted.length - created),
      },
      bytes: plan.bytes - counted.reduce((sum, { node }) => sum + (node.size ?? 0), 0),
    },
  }
}

export function listDamaged(damaged: ReadonlyMap<RawPath, string>): DamagedPath[] {
  return [...damaged].map(([path, why]) => ({ path, type: 'file', why }))
}

const shownMax = 20

/** Fails with `integrity.hash` where anything could not be read: everything else was done by then. */
export function requireReadable(
  damaged: readonly DamagedPath[],
  { label, kept }: { readonly label: string; readonly kept: string },
): void {
  if (damaged.length === 0) return
  const facts = damagedFacts(damaged)
  const lines = facts
    .slice(0, shownMax)
    .map(({ path, type, why }) => `${path}${type === 'folder' ? ' and what lies below it' : ''} (${why})`)
  if (facts.length > shownMax) lines.push(`… and ${facts.length - shownMax} more: --json names them all`)
  throw new VmlError(
    'integrity.hash',
    `Cannot restore everything to ${label}: ${damaged.length === 1 ? '1 path of the entry' : `${damaged.length} paths of the entry`} cannot be read, because the logbook is damaged`,
    {
      details: { damaged: facts },
      hint: `${kept}. Not written, so that what stands there stays:\n  ${lines.join('\n  ')}\nWhat else is affected tells: vml check --read-data. Then save what can be read: vml check --repair`,
    },
  )
}

export function damagedFacts(damaged: readonly DamagedPath[]) {
  return damaged.map(({ path, type, why }) => ({ path: printable(path), type, why }))
}
