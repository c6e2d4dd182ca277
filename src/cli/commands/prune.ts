// `vml prune`: frees the space of what no entry needs any more.
import {
  planPruning,
  pruneMarksOf,
  type PruneReport,
  type PruneRequest,
  runPruning,
} from '../../engine/prune.ts'
import { type MaxUnused, type PackSet, type PrunePlan, pruneRuleDefault } from '../../store/prune-plan.ts'
import { type Context, defineCommand, dryRun, flag, text } from '../command.ts'
import { formatBytes, formatCount, formatDuration, plural } from '../format.ts'
import { parseDuration, parseShare, parseSize } from '../quantities.ts'

export const command = defineCommand({
  description:
    'Frees the space of what no entry needs. One run marks what can go, beside running saves; the next deletes it, alone for moments, if nothing needs it by then.',
  operands: [],
  options: {
    dryRun,
    now: flag('--now', 'delete at once what this run marks, too'),
    maxUnused: text('--max-unused <limit>', 'what may stay unneeded in packs: 5% (default), 2G, unlimited'),
    maxRepack: text('--max-repack <size>', 'rewrite packs of at most this size in one run: 20G'),
    wait: text('--wait <time>', 'try for so long where another program uses the logbook: 10m'),
  },
  examples: [
    { line: 'vml prune --dry-run', does: 'what would go, and what that would free' },
    { line: 'vml prune', does: 'delete what the last run marked, and mark anew: for a timer' },
    { line: 'vml prune --now --wait 10m', does: 'free the space now, as soon as no save runs' },
    { line: 'vml prune --max-unused 0%', does: 'rewrite every pack that holds anything unneeded' },
  ],
  async run(context, { options }) {
    const { clock, config, out, reporter, signal } = context
    const started = clock.now()
    const rule = {
      maxUnused: parseMaxUnused(options.maxUnused),
      maxRepackBytes:
        options.maxRepack === undefined
          ? pruneRuleDefault.maxRepackBytes
          : parseSize(options.maxRepack, '--max-repack'),
    }
    const waitMs = options.wait === undefined ? 0 : parseDuration(options.wait, '--wait')
    const { repository } = await context.openLogbook()
    const marks = pruneMarksOf(config.folders.state, repository.id)
    const request: PruneRequest = { rule, marks, now: options.now, waitMs, reporter, signal }
    if (options.dryRun) {
      const plan = await planPruning(repository, request)
      printPlan(context, plan, options)
      out.summary('', { schema: 1, dry_run: true, now: options.now, plan: planFacts(plan, out.verbose) })
      return
    }
    const report = await runPruning(repository, request, (plan) => printPlan(context, plan, options))
    const { protectPacks } = await import('../../app/protect.ts')
    await protectPacks(repository, context)
    const duration = clock.now() - started
    out.summary(`${sentenceOf(report)} in ${formatDuration(duration)}`, {
      schema: 1,
      dry_run: false,
      now: options.now,
      plan: planFacts(report.plan, out.verbose),
      ...outcomeFacts(report),
      duration_ms: duration,
    })
  },
})

function parseMaxUnused(typed: string | undefined): MaxUnused {
  if (typed === undefined) return pruneRuleDefault.maxUnused
  if (typed === 'unlimited') return { bytes: Number.POSITIVE_INFINITY }
  return typed.endsWith('%')
    ? { share: parseShare(typed, '--max-unused') }
    : {
        bytes: parseSize(
          typed,
          '--max-unused',
          'it is a share such as 5%, a size such as 500M or 2G, or unlimited',
        ),
      }
}

function printPlan(
  { out }: Context,
  plan: PrunePlan,
  { now, dryRun: dry }: { now: boolean; dryRun: boolean },
) {
  const { total, used, due, unused, unindexed, repack, back, keptUnusedBytes } = plan
  const row = (what: string, packs: number, bytes: number, note = '') =>
    out.line(
      `${what.padEnd(12)} ${formatCount(packs).padStart(9)} ${formatBytes(bytes).padStart(10)}  ${note}`.trimEnd(),
    )
  out.line(`${plural(plan.snapshots, 'entry', 'entries')}, ${plural(used.blobs, 'needed blob')}`)
  out.line(`${''.padEnd(12)} ${'packs'.padStart(9)} ${'size'.padStart(10)}`)
  row('stored', total.packs, total.bytes)
  if (due.packs.length > 0)
    row('marked', due.packs.length, due.bytes, 'by an earlier run: deleted by this one')
  if (back.packs.length > 0)
    row('needed again', back.packs.length, back.bytes, 'marked by an earlier run: they stay')
  const fate = now ? 'deleted' : 'marked'
  if (unused.packs.length > 0) row('unneeded', unused.packs.length, unused.bytes, fate)
  if (unindexed.packs.length > 0) row('in no index', unindexed.packs.length, unindexed.bytes, fate)
  if (repack.packs.length > 0)
    row(
      'rewritten',
      repack.packs.length,
      repack.bytes,
      `${formatBytes(repack.rewriteBytes)} of it is needed; the rest ${fate}`,
    )
  out.line(`${formatBytes(keptUnusedBytes)} stay unneeded in packs that are needed`)
  if (dry) out.line(freedLine(plan, now))
}

/** What is marked goes with this run, what it marks itself with the next. */
function freedLine(plan: PrunePlan, now: boolean): string {
  const all = freedBytes(plan)
  const then = now ? all : plan.due.bytes
  const later = all - then
  if (then === 0 && later > 0) return `${formatBytes(later)} would be free after the next run`
  const more = later > 0 ? `, and ${formatBytes(later)} more after the next run` : ''
  return `${formatBytes(then)} would be free then${more}`
}

/** When all that is marked now is gone, too. */
function freedBytes({ due, unused, unindexed, repack }: PrunePlan): number {
  return due.bytes + unused.bytes + unindexed.bytes + repack.bytes - repack.rewriteBytes
}

function sentenceOf({ plan, deleted, repacked }: PruneReport): string {
  const { bytes, packs, back } = deleted
  const marked = [plan.due, plan.unused, plan.unindexed, plan.repack]
  const left = {
    packs: marked.reduce((sum, set) => sum + set.packs.length, 0) - packs.length - back.length,
    bytes: Math.max(0, marked.reduce((sum, set) => sum + set.bytes, 0) - bytes),
  }
  return [
    packs.length > 0 ? `Deleted ${plural(packs.length, 'pack')}, ${formatBytes(bytes)}` : 'Deleted nothing',
    ...(repacked.packs > 0
      ? [`wrote ${plural(repacked.packs, 'pack')}, ${formatBytes(repacked.bytes)}`]
      : []),
    ...(back.length > 0 ? [`${plural(back.length, 'pack')} needed again`] : []),
    ...(left.packs > 0
      ? [`marked ${plural(left.packs, 'pack')}, ${formatBytes(left.bytes)}, for the next run`]
      : []),
  ].join('; ')
}

function planFacts(plan: PrunePlan, withIds: boolean): Readonly<Record<string, unknown>> {
  const set = ({ packs, bytes }: PackSet) => ({
    packs: packs.length,
    bytes,
    ...(withIds ? { ids: packs } : {}),
  })
  return {
    snapshots: plan.snapshots,
    stored: {
      packs: plan.total.packs,
      bytes: plan.total.bytes,
      blobs: plan.total.blobs,
      index_files: plan.total.indexFiles,
    },
    needed: plan.used,
    duplicates: plan.duplicates,
    due: set(plan.due),
    needed_again: set(plan.back),
    unneeded: set(plan.unused),
    in_no_index: set(plan.unindexed),
    rewritten: { ...set(plan.repack), needed_bytes: plan.repack.rewriteBytes },
    kept_unneeded_bytes: plan.keptUnusedBytes,
    frees_bytes: freedBytes(plan),
  }
}

function outcomeFacts({ deleted, repacked }: PruneReport): Readonly<Record<string, unknown>> {
  return {
    deleted: { packs: deleted.packs.length, bytes: deleted.bytes },
    written: repacked,
    needed_again: deleted.back.length,
    index_files_removed: deleted.indexFilesRemoved,
    index_files_written: deleted.indexFilesWritten,
  }
}
