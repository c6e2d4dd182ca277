// `vml check`: whether everything in the logbook is there and whole, and `--repair`, which saves what can be saved.
import type { Logbook } from '../../app/open.ts'
import { VmlError } from '../../base/failure.ts'
import { entryName, listEntries, lostTag } from '../../engine/entries.ts'
import { findUnread, unreadFindings } from '../../engine/unread-documents.ts'
import { shortId } from '../../model/ids.ts'
import type { PackSample } from '../../store/check-sample.ts'
import type { CheckFinding, CheckReport, Repository } from '../../store/store.ts'
import { type Context, defineCommand, dryRun, flag, type Option } from '../command.ts'
import { formatBytes, formatDuration, plural } from '../format.ts'
import { shown } from '../options.ts'
import { keepPrunesOut } from '../read-lock.ts'
import { describeLost } from '../restorable.ts'

/** Paths of a damaged entry that are named without -v. */
const pathsShown = 5

const readDataSubset: Option<string | undefined> = {
  flags: '--read-data-subset <part>',
  description: 'read a part of the packs: 10%, 1/7 (the first seventh), 500MiB',
  takes: 'one',
  complete: 'none',
  parse: (typed) => (typeof typed === 'string' ? typed : undefined),
}

export const command = defineCommand({
  description:
    'Checks that every entry can be read whole: keys, index, trees and packs; with --read-data every byte. Names what is damaged and which entries it affects. With --repair it reads every byte, saves what is right of damaged packs, makes the index anew, and writes entries that lost something again without it. Damaged files are moved aside, never deleted.',
  operands: [],
  options: {
    readData: flag('--read-data', 'read, decrypt and hash every pack'),
    readDataSubset,
    repair: flag('--repair', 'save what can be saved; asks first'),
    skipData: flag('--skip-data', 'with --repair: trust packs whose size and header are right'),
    dryRun,
    lock: flag('--no-lock', 'look even while another program holds the logbook alone'),
  },
  examples: [
    { line: 'vml check', does: 'structure: seconds' },
    { line: 'vml check --read-data', does: 'every byte: as long as reading the logbook takes' },
    { line: 'vml check --read-data-subset 1/7', does: 'one seventh of it, another one each day of the week' },
    { line: 'vml check --repair --dry-run', does: 'what a repair would save and what is lost' },
    { line: 'vml check --json', does: 'for programs: the exit status is 20 where something is damaged' },
  ],
  async run(context, { options }) {
    context.whenCancelled('nothing was changed')
    const sample = await parseSubset(options)
    if (options.repair) {
      const status = await repair(context, options)
      // Packs may be new now, and their groups out of date.
      if (!options.dryRun) {
        context.whenCancelled(
          'the repair is done; where recovery data is kept, vml parity update completes it',
        )
        await remakeRecoveryData(context)
      }
      return status
    }
    if (options.dryRun || options.skipData)
      throw new VmlError(
        'usage',
        'Cannot take --dry-run and --skip-data without --repair: a check changes nothing',
      )
    await check(context, { readData: sample ?? options.readData, lock: options.lock })
  },
})

interface Options {
  readonly readData: boolean
  readonly readDataSubset: string | undefined
  readonly repair: boolean
  readonly skipData: boolean
  readonly dryRun: boolean
  readonly lock: boolean
}

async function parseSubset({
  readDataSubset: typed,
  readData,
  repair,
}: Options): Promise<PackSample | undefined> {
  if (typed === undefined) return undefined
  if (repair)
    throw new VmlError('usage', 'Cannot repair by a part of the packs', {
      hint: 'Leave --read-data-subset out',
    })
  if (readData)
    throw new VmlError('usage', 'Cannot read all of the data and a part of it: take one of the two')
  const { parsePackSample } = await import('../../store/check-sample.ts')
  const sample = parsePackSample(typed)
  if (sample) return sample
  throw new VmlError('usage', `Cannot take "${shown(typed)}" for --read-data-subset`, {
    hint: 'Write 10%, 1/7 (at most 256 parts) or 500MiB',
  })
}

async function check(
  context: Context,
  { readData, lock }: { readonly readData: boolean | PackSample; readonly lock: boolean },
): Promise<void> {
  const { out, signal, clock } = context
  const started = clock.now()
  const logbook = await context.openLogbook()
  await using _lock = lock ? await keepPrunesOut(context, logbook.repository, 'strict') : undefined
  const checked = await logbook.repository.check({ readData, reporter: context.reporter, signal })
  const recovery = await lookAtRecoveryData(context, logbook.repository, readData === true)
  const unread = unreadFindings(await findUnread(logbook, signal), checked.findings)
  const report = { ...checked, findings: [...checked.findings, ...unread, ...recovery.findings] }
  const damage = report.findings.filter((finding) => finding.severity === 'damage')
  // Only for names: where the log itself cannot be read the finding says so already.
  const entries = await listEntries(logbook, { signal }).catch(() => [])
  printFindings(context, report, new Map(entries.map((entry) => [entry.snapshot.id, entryName(entry)])))
  const { snapshots, packs, blobs, bytesRead, packsRead } = report
  const part = typeof readData === 'object' ? ` of ${plural(packsRead, 'pack')}` : ''
  const read = readData === false ? '' : `, ${formatBytes(bytesRead)}${part} read`
  for (const line of recovery.lines) out.note(`  ${line}`)
  if (damage.length === 0) await tellDamagedPlaces(context, logbook)
  out.summary(
    `Checked ${plural(snapshots, 'entry', 'entries')}, ${plural(packs, 'pack')}, ${plural(blobs, 'blob')}${read} in ${formatDuration(clock.now() - started)}: ${damage.length === 0 ? `no damage${limitsOf(readData)}` : `${damage.length} damaged`}`,
    {
      snapshots,
      packs,
      blobs,
      bytes_read: bytesRead,
      packs_read: packsRead,
      num_errors: damage.length,
      unused_packs: report.unusedPacks.length,
      recovery_data: recovery.facts,
    },
  )
  if (damage.length > 0)
    throw new VmlError(
      'integrity.missing',
      `The logbook is damaged: ${plural(damage.length, 'finding')}, and nothing was changed`,
      {
        details: { findings: damage.length },
        hint: `${readData === true ? 'Entries that are not named above are whole' : 'Entries that are not named above are whole as far as was read: vml check --read-data reads all of them'}. vml check --repair --dry-run tells what can be saved; copy the logbook before you repair it, and do not save before that: a save may refer to what is damaged. What is lost then may be healed from a second logbook with vml copy`,
      },
    )
}

/** Who did not ask for it has not had the content read, and must not take that for proof. */
function limitsOf(readData: boolean | PackSample): string {
  if (readData === true) return ''
  return readData === false
    ? ' to the structure. No content was read: vml check --read-data reads it'
    : ' to the structure and to what was read: vml check --read-data reads all of it'
}

/** Nothing where there is none. Where the index is damaged it cannot be told which packs need it; that is found already. */
async function lookAtRecoveryData(
  context: Context,
  repository: Repository,
  readData: boolean,
): Promise<{
  readonly findings: readonly CheckFinding[]
  readonly lines: readonly string[]
  readonly facts: Readonly<Record<string, unknown>> | null
}> {
  const none = { findings: [], lines: [], facts: null }
  const [{ parityFacts, parityLines }, { isDamage }] = await Promise.all([
    import('./parity.ts'),
    import('../../store/damage.ts'),
  ])
  const parity = await repository.openParity()
  const state = await parity.state({ ...context, readData }).catch((error: unknown) => {
    if (!isDamage(error)) throw error
  })
  if (!state || (!state.settings && state.groups === 0 && state.damaged.length === 0)) return none
  const findings = state.damaged.map(
    ({ name, message }) => ({ severity: 'damage', what: 'parity', id: name, message, affects: [] }) as const,
  )
  return { findings, lines: parityLines(state), facts: parityFacts(state) }
}

/** Once all is whole, what a repair has put aside is only in the way. */
async function tellDamagedPlaces({ config, out }: Context, logbook: Logbook): Promise<void> {
  const { damagedPlaces } = await import('../../app/damaged-places.ts')
  for (const place of await damagedPlaces(config, logbook))
    out.note(
      `  A repair kept damaged files in ${shown(place)}: remove that folder when you need them no more`,
    )
}

/** "Nothing to repair" is no promise that every entry is whole: what an earlier repair left out stays out. */
async function tellOlderLosses({ out, signal }: Context, logbook: Logbook): Promise<void> {
  for (const { snapshot, message } of await findUnread(logbook, signal))
    out.note(
      `  What entry ${shortId(snapshot)} says of itself cannot be read, and no repair brings it back: ${shown(message)}. Its files can be restored`,
    )
  const entries = await listEntries(logbook, { signal })
  const partial = entries.filter(({ snapshot }) => snapshot.tags.includes(lostTag))
  if (partial.length === 0) return
  const some = partial.slice(0, pathsShown)
  for (const entry of some) {
    const { lost } = entry.facts ?? {}
    out.note(`  ${entryName(entry)} stays without ${(lost && describeLost(lost)) ?? 'what damage took'}`)
  }
  if (partial.length > some.length)
    out.note(`  and ${plural(partial.length - some.length, 'more entry', 'more entries')}`)
  out.note(
    '  A repair adds nothing to an entry, also where a later save stored it again. vml copy --all --from THAT --to THIS heals from a second logbook that has it whole',
  )
}

async function remakeRecoveryData(context: Context): Promise<void> {
  const { repository } = await context.openLogbook()
  const { protectPacks } = await import('../../app/protect.ts')
  // The summary was printed: nothing but words comes after it.
  const reporter = { ...context.reporter, progress: () => {} }
  const done = await protectPacks(repository, { reporter, signal: context.signal, verify: true })
  if (done && done.packs > 0) context.out.note(`  Recovery data was made for ${plural(done.packs, 'pack')}`)
}

function printFindings({ out }: Context, report: CheckReport, names: ReadonlyMap<string, string>): void {
  for (const finding of report.findings) {
    const { severity, what, id, message, affects } = finding
    out.message({
      message_type: severity === 'damage' ? 'error' : 'verbose_status',
      error: { message },
      during: 'check',
      what,
      item: id,
      affects: affects.map(({ snapshot, paths }) => ({
        snapshot,
        entry: names.get(snapshot) ?? null,
        paths,
      })),
    })
    const mark = severity === 'damage' ? out.style.red('damaged') : out.style.yellow('notice')
    out.line(`${mark}  ${what} ${shortId(id)}: ${shown(message)}`)
    if (what === 'index' && report.unusedPacks.length > 0)
      out.line('    packs that no index names are there: vml check --repair makes it anew from them')
    for (const { snapshot, paths } of affects) {
      const some = out.verbose ? paths : paths.slice(0, pathsShown)
      const more = paths.length > some.length ? ` and ${paths.length - some.length} more` : ''
      out.line(
        `    affects ${names.get(snapshot) ?? shortId(snapshot)}: ${some.map(shown).join(', ')}${more}`,
      )
    }
  }
}

async function repair(context: Context, options: Options): Promise<number> {
  const { out, signal, reporter, clock } = context
  const started = clock.now()
  const logbook = await context.openLogbook()
  const { openRepair } = await import('../../engine/repair.ts')
  const { printRepairPlan } = await import('../print-repair.ts')
  const { keepDamagedFiles } = await import('../../app/damaged-files.ts')
  await using found = await openRepair(logbook, {
    readData: !options.skipData,
    look: options.dryRun,
    keepCopy: keepDamagedFiles(context.config.folders, logbook.repository.id),
    reporter,
    signal,
  })
  const { plan } = found
  out.message({ message_type: 'verbose_status', action: 'plan', dry_run: options.dryRun, plan })
  printRepairPlan(out, plan)
  const read = options.skipData ? '' : `, ${formatBytes(plan.bytesRead)} read`
  if (!plan.changes) {
    out.summary(`Nothing to repair${read} in ${formatDuration(clock.now() - started)}`, {
      dry_run: options.dryRun,
      repaired: false,
    })
    await tellOlderLosses(context, logbook)
    return 0
  }
  const lossy = plan.entries.filter(({ lostFiles, lostFolders }) => lostFiles + lostFolders > 0).length
  const losses = plan.loses
    ? `${plural(lossy, 'entry has', 'entries have')} lost something that is not in this logbook any more`
    : 'nothing of any entry is lost'
  if (options.dryRun) {
    out.summary(`A repair would do this${read}: ${losses}`, { dry_run: true, repaired: false })
    throw new VmlError('integrity.missing', 'The logbook is damaged, and nothing was changed', {
      hint: 'Copy the logbook, then run vml check --repair',
    })
  }
  await context.confirm(
    `Repair the logbook? ${losses[0]?.toUpperCase() ?? ''}${losses.slice(1)}. Damaged files are moved aside, not deleted.`,
  )
  context.whenCancelled('the repair is not done, and nothing is lost by that: run vml check --repair again')
  const outcome = await found.run()
  if (outcome.keyId !== logbook.repository.keyId) {
    const { noteComputerKey } = await import('../../app/keyring.ts')
    await noteComputerKey(context.config.folders, logbook.repository.id, outcome.keyId).catch(() => {})
  }
  const kept = outcome.aside.flatMap(({ place }) => (place === undefined ? [] : [place]))
  for (const place of out.verbose ? kept : kept.slice(0, pathsShown)) out.line(`kept aside  ${shown(place)}`)
  if (!out.verbose && kept.length > pathsShown) out.line(`            and ${kept.length - pathsShown} more`)
  out.summary(
    `Repaired in ${formatDuration(clock.now() - started)}: ${losses}. ${plural(outcome.entries.length, 'entry', 'entries')} written again, ${formatBytes(outcome.storedBytes)} stored. Prove it with vml check --read-data`,
    {
      dry_run: false,
      repaired: true,
      entries: outcome.entries,
      bytes_stored: outcome.storedBytes,
      aside: outcome.aside,
      loses: plan.loses,
    },
  )
  if (plan.loses) {
    out.note(
      '  Another logbook may have it whole: vml copy --all --from THAT --to THIS heals its entries here',
    )
    out.note('  The machine may have it still: vml save stores it anew')
  }
  return plan.loses ? 3 : 0
}
