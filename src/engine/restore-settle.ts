// A plan of a restore once more is known than a listing tells: what was doubtful, and what no longer has a reason.
import { parentPath, type RawPath } from '../model/raw-path.ts'
import { linkKey, orderLinks } from './restore-links.ts'
import type { PlannedWrite, RestorePlan } from './restore-plan.ts'

/** The plan once the doubtful files were compared: those whose content differs are written, the others count as unchanged. */
export function settleDoubts(plan: RestorePlan, differing: ReadonlySet<RawPath>): RestorePlan {
  if (plan.doubtful.length === 0) return plan
  const differs = new Set(plan.doubtful.flatMap(({ path }) => (differing.has(path) ? [path] : [])))
  const writes = plan.writes.filter(({ path, reason }) => reason !== 'folder' || !differs.has(path))
  const planned = new Set(writes.map((each) => each.path))
  const differingLinks = new Set(
    plan.doubtful.filter(({ path }) => differing.has(path)).map(({ node }) => linkKey(node)),
  )
  let bytes = plan.bytes
  let replaced = plan.counts.replaced
  for (const { path, node } of plan.doubtful) {
    const key = linkKey(node)
    const goesAlong = key !== undefined && differingLinks.has(key)
    if ((!differing.has(path) && !goesAlong) || planned.has(path)) continue
    writes.push({ path, node, reason: 'content' })
    bytes += node.size ?? 0
    replaced++
  }
  writes.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0))
  const equal = plan.doubtful.filter(({ path }) => !differing.has(path)).length
  return {
    ...plan,
    writes: dropIdleFolders(orderLinks(writes), plan),
    doubtful: [],
    counts: { ...plan.counts, replaced, unchanged: plan.counts.unchanged + equal },
    bytes,
  }
}

/** Without folders that were only in the plan for the sake of what lies in them, and is no longer in it. */
export function dropIdleFolders(
  writes: readonly PlannedWrite[],
  { removals }: Pick<RestorePlan, 'removals'>,
): PlannedWrite[] {
  const touched = new Set<RawPath>()
  for (const each of writes) if (each.reason !== 'folder') touched.add(parentPath(each.path))
  for (const { path } of removals) touched.add(parentPath(path))
  return writes.filter((each) => each.reason !== 'folder' || touched.has(each.path))
}
