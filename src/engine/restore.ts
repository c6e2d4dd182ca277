// Puts an entry back: plan, safety entry, removal, one stream of the differences, proof by reading back.
import { VmlError } from '../base/failure.ts'
import { growSlowly } from '../base/sweep.ts'
import { printable } from '../base/raw-text.ts'
import { isWithin, type RawPath } from '../model/raw-path.ts'
import type { Attributes } from '../model/tree.ts'
import type { PathFailure } from '../source/source.ts'
import { type Expected, keepsLinkTimes, prove, type ProofReport } from './proof.ts'
import { endangeredPaths, isEmptyPlan, planRestore, type RestorePlan } from './restore-plan.ts'
import { settleDoubts } from './restore-settle.ts'
import {
  collectWanted,
  differingDoubts,
  foldersAbove,
  lookAtTarget,
  openGuard,
  refuseMounts,
  refuseUnreadable,
} from './restore-look.ts'
import { type DamagedPath, findDamagedContents, listDamaged, withoutDamaged } from './restore-damage.ts'
import { cameMeanwhile, type Late, removeUnchanged } from './restore-late.ts'
import type { RestoreRequest } from './restore-request.ts'
import { type PlannedRestore, writeItems, writeParents } from './restore-write.ts'

export type PreparedRestore = PlannedRestore

export interface RestoreReport {
  readonly plan: RestorePlan
  readonly proof: ProofReport
  readonly failures: readonly PathFailure[]
  /** Not written, so that what stands there stays: the entry's content of them cannot be read. */
  readonly damaged: readonly DamagedPath[]
}

/** Looks at entry and target, changes nothing. */
export async function prepareRestore(request: RestoreRequest): Promise<PreparedRestore> {
  const { destination, reporter } = request
  reporter.progress({ phase: 'comparing' })
  // The plan is what takes memory, and it stays to the end.
  growSlowly()
  const { wanted, own, damaged: folders } = await collectWanted(request)
  const scope = scopeOf(request)
  const target = await lookAtTarget(request, scope, wanted)
  const above = await foldersAbove(request, wanted, target.present)
  refuseMounts(wanted, target.mounts)
  refuseUnreadable(wanted, target)
  const { fidelity } = destination.source
  const plan = planRestore({
    wanted: [...above, ...wanted],
    present: target.present,
    overwrite: request.overwrite,
    remove: request.remove,
    scope: request.removeWithin?.map((path) => destination.map.forward(path)) ?? scope,
    protectedBy: openGuard(request, target, folders),
    owners: destination.owners,
    timeResolutionNs: fidelity.timeResolutionNs,
    sameMachine: destination.sameMachine,
    settledBeforeNs: request.settledBeforeNs,
    attributesTold: fidelity.xattrs || fidelity.acls,
    linkTimes: keepsLinkTimes(fidelity),
  })
  const unproven: DamagedPath[] = []
  const full = settleDoubts(plan, await differingDoubts(request, plan, unproven))
  const contents = await findDamagedContents(request, full, target.present)
  const { plan: settled, damaged: files } = withoutDamaged(full, [...unproven, ...contents])
  const standing = await standingExtras(request, target.present)
  const removed = new Set(settled.removals.map(({ path }) => path))
  const setAside = target.setAside
    .filter((path) => !removed.has(path))
    .map((path) => ({ path, why: 'what a restore that was cut off had to set aside, and no entry has' }))
  const endangered = await endangeredBy(request, settled, target.present)
  return {
    request,
    plan: { ...settled, left: [...settled.left, ...own, ...setAside] },
    present: target.present,
    leftovers: target.leftovers,
    damaged: [...folders, ...files],
    endangered: [...new Set([...endangered, ...standing])].sort(),
  }
}

/** What changes or goes. A folder that is written again for its time alone is as it was afterwards: alone it is nothing to keep. */
async function endangeredBy(
  request: RestoreRequest,
  plan: RestorePlan,
  present: PreparedRestore['present'],
): Promise<readonly RawPath[]> {
  const all = endangeredPaths(plan, present)
  const idle = plan.writes.filter(({ path, reason }) => reason === 'folder' && present.has(path))
  const idlePaths = new Set(idle.map(({ path }) => path))
  if (idle.length === 0 || all.some((path) => !idlePaths.has(path))) return all
  const { xattrs, acls } = request.destination.source.fidelity
  if (!xattrs && !acls) return []
  const differing = await differingDoubts(request, { doubtful: idle })
  return all.filter((path) => differing.has(path))
}

/** What is looked at on the target: the restored paths, and where folders within them go under another name. */
function scopeOf({ paths, destination: { map } }: RestoreRequest): RawPath[] {
  const moved = map.renames.filter(({ from }) => paths.some((path) => isWithin(from, path)))
  return [...new Set([...paths.map((path) => map.forward(path)), ...moved.map(({ to }) => to)])]
}

/** Files that VML adds and that are there already: they are replaced, so the safety entry holds them. */
async function standingExtras(
  { extras, destination, signal }: RestoreRequest,
  present: Map<RawPath, Attributes>,
): Promise<RawPath[]> {
  const standing: RawPath[] = []
  for await (const record of destination.source.stat(
    extras.map(({ path }) => path),
    signal,
  )) {
    if (record.kind === 'item' && record.attributes.type !== 'file') {
      throw new VmlError(
        'conflict',
        `Cannot write "${printable(record.path)}" on ${destination.label}: a ${record.attributes.type} stands there`,
        { hint: 'Nothing was changed. Move it away' },
      )
    }
    if (record.kind !== 'item') continue
    standing.push(record.path)
    if (!present.has(record.path)) present.set(record.path, record.attributes)
  }
  return standing
}

/**
 * Changes the target as planned. Order: removals (deepest first), then writes with folders' times last, then proof. Cut off
 * anywhere it can be repeated: what is half written differs from the entry and is planned again. What the target refused
 * is in `failures`, what is there and not as the entry says in `proof`.
 */
export async function runRestore(prepared: PreparedRestore): Promise<RestoreReport> {
  const { source } = prepared.request.destination
  if (!source.local) return await runThrough(prepared)
  const [{ openLocalRestore }, { proveLocally }] = await Promise.all([
    import('./restore-local.ts'),
    import('./restore-local-proof.ts'),
  ])
  await using local = await openLocalRestore(prepared, source.local)
  const failures = [...(await removeLeftovers(prepared)), ...(await local.remove()), ...(await local.write())]
  prepared.request.reporter.progress({ phase: 'proving', filesTotal: prepared.plan.writes.length })
  const proof = await proveLocally(prepared, local)
  return {
    plan: prepared.plan,
    proof,
    failures,
    damaged: [...prepared.damaged, ...listDamaged(local.damaged)],
  }
}

/** Nobody's, or in an entry. */
async function removeLeftovers({ request, leftovers }: PreparedRestore): Promise<readonly PathFailure[]> {
  if (leftovers.length === 0) return []
  return await request.destination.source.remove(leftovers, request.signal)
}

/** One stream of writes into the machine's own tar, and digests that its own tools compute. */
async function runThrough(prepared: PreparedRestore): Promise<RestoreReport> {
  const { request, plan } = prepared
  const { source } = request.destination
  const failures: PathFailure[] = [...(await removeLeftovers(prepared))]
  const expected = new Map<RawPath, Expected>()
  const damaged = new Map<RawPath, string>()
  const late: Late = new Map()
  request.reporter.progress({ phase: 'removing', filesTotal: plan.removals.length })
  failures.push(...(await removeUnchanged(prepared, late)))
  if (plan.writes.length > 0 || request.extras.length > 0) {
    failures.push(
      ...(await source.write(
        writeItems(prepared, { expected, damaged, late }),
        writeParents(prepared),
        request.signal,
      )),
    )
  }
  request.reporter.progress({ phase: 'proving', filesTotal: expected.size })
  const proof = await prove({
    source,
    expected,
    // What made way for another type is seen as that type.
    absent: plan.removals.filter(({ why }) => why === 'not-in-entry').map(({ path }) => path),
    owners: request.destination.owners,
    reporter: request.reporter,
    signal: request.signal,
  })
  const differing = new Set(proof.differences.map(({ path }) => path))
  const unwritten = [...late.keys()].filter((path) => !expected.has(path) && !differing.has(path))
  return {
    plan,
    proof: {
      ...proof,
      differences: [...proof.differences, ...unwritten.map((path) => ({ path, what: 'stays as it is' }))],
    },
    failures: [...failures, ...[...late.keys()].map((path) => ({ path, message: cameMeanwhile }))],
    damaged: [...prepared.damaged, ...listDamaged(damaged)],
  }
}

export function isNothingToDo({ plan, request, leftovers }: PreparedRestore): boolean {
  return isEmptyPlan(plan) && request.extras.length === 0 && leftovers.length === 0
}
