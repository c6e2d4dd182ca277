// What `vml restore` tells: the plan, what came of it, and what was left alone.
import { printable } from '../base/raw-text.ts'
import { damagedFacts } from '../engine/restore-damage.ts'
import type { CarriedOut, PreparedEntryRestore } from '../engine/restore-entry.ts'
import { missingFacts, type MissingPath, missingReasons } from '../engine/restore-missing.ts'
import type { Overwrite, Reason, RestorePlan } from '../engine/restore-plan.ts'
import type { Saved } from '../engine/save.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { TreeNode } from '../model/tree.ts'
import type { Context } from './command.ts'
import { formatBytes, formatCount, formatDuration, plural } from './format.ts'
import type { Output } from './output.ts'

/** More than this is for --json. */
const shownMax = 20

export function printPlan(
  context: Context,
  { plan, request, endangered, missing, damaged, rebuilt }: PreparedEntryRestore,
  notes: readonly string[],
  dry: boolean,
): void {
  const { out } = context
  const { created, replaced, removed, unchanged } = plan.counts
  const what = `${formatCount(created)} new, ${formatCount(replaced)} changed, ${formatCount(removed)} deleted, ${formatCount(unchanged)} as they are; ${formatBytes(plan.bytes)} to write${rebuilt.length === 0 ? '' : `, and ${plural(rebuilt.length, 'file')} rebuilt`}`
  for (const note of notes) out.note(`  ${note}`)
  if (!dry) {
    out.note(`  ${request.destination.label}: ${what}`)
    return
  }
  const changes = [
    ...plan.removals.map(({ path }) => `- ${printable(path)}`),
    ...plan.writes
      .filter(({ reason }) => reason !== 'folder')
      .map(({ path, node, reason }) =>
        reason === 'missing' ? `+ ${printable(path)}` : `M ${printable(path)} (${reasonOf(node, reason)})`,
      ),
    ...rebuilt.map((path) => `${endangered.includes(path) ? 'M' : '+'} ${printable(path)} (rebuilt)`),
  ]
  for (const line of out.verbose ? changes : changes.slice(0, shownMax)) out.line(line)
  if (!out.verbose && changes.length > shownMax)
    out.line(`… and ${formatCount(changes.length - shownMax)} more: add --verbose`)
  noteUntouched(out, plan, request.overwrite)
  out.line(`Would change ${request.destination.label}: ${what}`)
  noteMissing(out, missing)
  out.document({
    schema: 1,
    dry_run: true,
    target: request.destination.label,
    counts: plan.counts,
    bytes: plan.bytes,
    safety_paths: endangered.length,
    removals: plan.removals.map(({ path, why }) => ({ path: printable(path), why })),
    writes: plan.writes.map(({ path, reason }) => ({ path: printable(path), reason })),
    rebuilt: rebuilt.map(printable),
    ...untouchedFacts(plan),
    missing: missingFacts(missing),
    damaged: damagedFacts(damaged),
  })
}

export function printOutcome(
  { out }: Context,
  done: {
    prepared: PreparedEntryRestore
    safety: Saved | undefined
    report: CarriedOut['report']
    damaged: CarriedOut['damaged']
    /** What brings back the entry of this number. */
    back: (number: number) => string
    durationMs: number
  },
): void {
  const { prepared, safety, report, damaged, back, durationMs } = done
  const { plan, request, missing } = prepared
  const lacks = { missing: missingFacts(missing), damaged: damagedFacts(damaged) }
  const { label } = request.destination
  noteUntouched(out, plan, request.overwrite)
  if (!report) {
    const differ = plan.left.length
    const whole = missing.length === 0 && damaged.length === 0
    out.line(
      differ === 0
        ? whole
          ? `${label} is as the entry says: nothing to do`
          : `Nothing to do in ${label}: it has everything that can be restored from the entry`
        : `Nothing was changed in ${label}: ${plural(differ, 'path differs', 'paths differ')} and ${differ === 1 ? 'stays' : 'stay'}`,
    )
    noteMissing(out, missing)
    out.summary('', {
      schema: 1,
      target: label,
      counts: plan.counts,
      changed: false,
      ...untouchedFacts(plan),
      ...lacks,
    })
    return
  }
  if (safety) {
    const { number } = safety.document
    const { created } = plan.counts
    const stays = created === 0 ? '' : `; ${plural(created, 'new path stays', 'new paths stay')} then`
    const words = `${back(number)}${needsDelete(plan) ? ' --delete' : ''}`
    out.note(`  What was there is kept in #${number}: ${words} brings it back${stays}`)
  }
  const { proof } = report
  out.line(
    `Restored to ${label}: ${plural(proof.checked, 'path')} written and read back, ${plural(proof.contents, 'file')} hashed (${formatBytes(proof.bytes)}), all equal`,
  )
  noteMissing(out, missing)
  out.summary(`Done in ${formatDuration(durationMs)}`, {
    schema: 1,
    target: label,
    counts: plan.counts,
    bytes: plan.bytes,
    ...untouchedFacts(plan),
    ...lacks,
    proof: {
      checked: proof.checked,
      contents: proof.contents,
      bytes: proof.bytes,
      absent: proof.absent,
      equal: true,
    },
    safety: safety && { number: safety.document.number, id: safety.snapshot.id },
    duration_ms: durationMs,
  })
}

/** A plan stops at the first thing that differs, and reads no file of equal size: its content is compared by nobody. */
function reasonOf({ type }: TreeNode, reason: Reason): string {
  const says = type === 'file' && (reason === 'time' || reason === 'mode' || reason === 'owner')
  return says ? `${reason}, maybe content` : reason
}

/** As many paths as tell what kind of thing it is. */
const untouchedShownMax = 5

/** What the entry has and the target keeps as its own, and what --delete passes over: a restore is not whole without that word. */
function noteUntouched(out: Output, { left, kept }: RestorePlan, overwrite: Overwrite): void {
  const show = (title: string, paths: readonly RawPath[]) => {
    const shown = out.verbose ? paths : paths.slice(0, untouchedShownMax)
    out.note(`  ${title}`)
    for (const path of shown) out.note(`    ${printable(path)}`)
    if (paths.length > shown.length)
      out.note(`    … and ${formatCount(paths.length - shown.length)} more: add --verbose`)
  }
  for (const [why, paths] of grouped(left, ({ why }) => why)) {
    const because =
      why === 'exists'
        ? ` because of --overwrite ${overwrite}`
        : `: ${why}${why === 'not older than the entry' ? ` (--overwrite ${overwrite})` : ''}`
    show(`${formatCount(paths.length)} left as ${paths.length === 1 ? 'it is' : 'they are'}${because}`, paths)
  }
  for (const [rule, paths] of grouped(kept, ({ rule }) => rule))
    show(`${formatCount(paths.length)} not in the entry and kept: ${rule}`, paths)
}

/** A restore that is equal to the entry is not all that was there when the entry was made. */
export function noteMissing(out: Output, missing: readonly MissingPath[]): void {
  for (const [why, paths] of grouped(missing, (each) => each.why)) {
    out.note(`  ${plural(paths.length, 'path is', 'paths are')} not in the entry, ${missingReasons[why]}:`)
    const shown = out.verbose ? paths : paths.slice(0, shownMax)
    for (const path of shown) out.note(`    ${printable(path)}`)
    if (paths.length > shown.length)
      out.note(`    … and ${formatCount(paths.length - shown.length)} more: add --verbose`)
  }
}

function grouped<Each extends { readonly path: RawPath }, Why extends string>(
  all: readonly Each[],
  reason: (each: Each) => Why,
): ReadonlyMap<Why, RawPath[]> {
  const groups = new Map<Why, RawPath[]>()
  for (const each of all) {
    const group = groups.get(reason(each))
    if (group) group.push(each.path)
    else groups.set(reason(each), [each.path])
  }
  return groups
}

function untouchedFacts({ left, kept }: RestorePlan) {
  return {
    kept: kept.map(({ path, rule }) => ({ path: printable(path), rule })),
    left: left.map(({ path, why }) => ({ path: printable(path), why })),
  }
}

/** Where a folder came in the place of something else, the way back is blocked by what is in it. */
function needsDelete({ writes }: RestorePlan): boolean {
  return writes.some(({ node, reason }) => reason === 'type' && node.type === 'dir')
}
