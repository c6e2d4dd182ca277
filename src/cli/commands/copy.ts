// `vml copy ENTRY… --to LOGBOOK`: entries into another logbook, moving only what is missing there.
import { isOwnLogbook, openOtherLogbook, otherPasswordFile } from '../../app/other-logbook.ts'
import type { Logbook } from '../../app/open.ts'
import { ownNames } from '../../app/own-names.ts'
import { isSystemLogbook } from '../../app/system-logbook.ts'
import { isFailure, VmlError } from '../../base/failure.ts'
import {
  type CopyOutcome,
  type CopyPlan,
  measureCopy,
  planCopy,
  type PlannedCopy,
  runCopy,
} from '../../engine/copy.ts'
import { isMarkedLost, planHeals } from '../../engine/copy-heal.ts'
import { entryName, listEntries, type LoggedEntry } from '../../engine/entries.ts'
import { chooseAmong } from '../../engine/proven-entries.ts'
import { parseEntryPath, resolveEntry } from '../../model/entry-reference.ts'
import { shortId } from '../../model/ids.ts'
import { type Context, defineCommand, dryRun, flag, text } from '../command.ts'
import { formatBytes, plural } from '../format.ts'
import { entryOperand, shown } from '../options.ts'
import { keepPrunesOut } from '../read-lock.ts'

const partialStatus = 3
const damageStatus = 20

export const command = defineCommand({
  description:
    'Copies entries into another logbook, wherever that lies. Only what is missing there is moved, and an entry shows there only when it is whole: a copy that was cut off is repeated and goes on. Ids stay; so do numbers, unless another entry has that one there.',
  operands: [{ ...entryOperand, required: false, many: true }],
  options: {
    to: text('--to <logbook>', 'the logbook to copy to', 'folder'),
    toPasswordFile: text(
      '--to-password-file <file>',
      'its password, where this computer has no key for it (or VML_TO_PASSWORD_FILE)',
      'file',
    ),
    from: text('--from <logbook>', 'the logbook to copy from, instead of yours', 'folder'),
    all: flag('--all', 'every entry'),
    machine: text('-m, --machine <name>', 'every entry of a machine', 'machine'),
    project: text('-p, --project <name>', 'every entry of a project', 'project'),
    dryRun,
  },
  examples: [
    { line: 'vml copy --all --to /mnt/usb/logbook', does: 'everything that is not there yet' },
    { line: 'vml copy lab@latest 42 --to /srv/logbook', does: 'two entries' },
    { line: 'vml copy --machine lab --to /srv/logbook --dry-run', does: 'how much that would be' },
    { line: 'vml copy --all --from /mnt/usb/logbook --to ~/logbook', does: 'the other way round' },
  ],
  async run(context, { operands, options }) {
    const { config, out, signal } = context
    if (options.to === undefined)
      throw new VmlError('usage', 'Cannot copy without a logbook to copy to', {
        hint: 'Add --to LOGBOOK; vml init LOGBOOK --like LOGBOOK makes one',
      })
    requireChoice(operands, options)
    await using opened = new AsyncDisposableStack()
    const open = async (option: string, typed: string, passwordFile: typeof config.passwordFile) =>
      opened.use(await openOtherLogbook(config, { option, typed, passwordFile }, context))
    const from =
      options.from === undefined
        ? await context.openLogbook()
        : await open('--from', options.from, config.passwordFile)
    const toPasswordFile = otherPasswordFile(
      config,
      { name: '--to-password-file', typed: options.toPasswordFile },
      config.toPasswordFile,
    )
    const into = await open('--to', options.to, toPasswordFile).catch((error: unknown) => {
      throw withLike(error, from.location)
    })
    refuseSame(from, into)
    opened.use((await keepPrunesOut(context, from.repository, 'careful')) ?? nothingToClose)
    let leftOut = 0
    const warn: typeof context.reporter.warn = (event) => {
      leftOut++
      context.reporter.warn(event)
    }
    let unreadable = 0
    const source = await listEntries(from, {
      signal,
      reporter: { ...context.reporter, warn },
      onLeftOut: () => void unreadable++,
    })
    const present = await listEntries(into, context)
    const imported = options.from !== undefined && !(await isOwnLogbook(config, from))
    const wanted = chooseAmong(() => choose(source, operands, options), unreadable)
    if (isSystemLogbook(into.location)) requireOwnTransactions(context, wanted)
    const chosen = planCopy(wanted, {
      source,
      present,
      imported,
      highestNumber: into.catalog.highestNumber,
    })
    warnOfOtherChunks(context, from, into)
    const copying = { from, into, source, present, reporter: context.reporter, signal }
    const plan = await planHeals(chosen, copying)
    if (options.dryRun) {
      const missing = await measureCopy(plan, copying)
      for (const planned of plan.copies) out.line(lineOf(planned, dryWords[planned.step]))
      const [steps, heals] = ['copy', 'heal'].map(
        (of) => plan.copies.filter(({ step }) => step === of).length,
      )
      out.note(
        `Would copy ${plural(steps ?? 0, 'entry', 'entries')}${heals ? ` and heal ${heals}` : ''}: ${plural(missing.blobs, 'blob')} and ${plural(missing.trees, 'folder')}, ${formatBytes(missing.bytes)}`,
      )
      out.document({
        schema: 1,
        dry_run: true,
        imported,
        entries: plan.copies.map((planned) => ({ ...describe(planned), step: planned.step })),
        missing,
      })
      return
    }
    const { outcomes, counts, storedBytes } = await runCopy(plan, {
      ...copying,
      onOutcome: (outcome) => {
        out.line(lineOf(outcome, doneWords[outcome.outcome]))
        if (outcome.damage) context.reporter.warn({ warning: outcome.damage.message })
      },
    })
    const { protectPacks } = await import('../../app/protect.ts')
    await protectPacks(into.repository, context)
    const copied = outcomes.filter(({ outcome }) => outcome === 'copied').length
    const updated = outcomes.filter(({ outcome }) => outcome === 'updated' || outcome === 'edited').length
    const healed = outcomes.filter(({ outcome }) => outcome === 'healed').length
    const where = [
      ...(healed > 0 ? [`, healed ${healed}`] : []),
      ...(updated > 0 ? [`, brought ${updated} up to date`] : []),
    ]
    if (imported && copied > 0)
      out.note(`  Marked as somebody else's, since this computer has no key of its own to ${from.location}`)
    out.summary(
      `Copied ${copied} of ${plural(outcomes.length, 'entry', 'entries')}${where.join('')}${where.length > 0 ? ' in' : ' to'} ${into.location}: ${plural(counts.blobs, 'blob')} and ${plural(counts.trees, 'folder')}, stored ${formatBytes(storedBytes)}`,
      {
        schema: 1,
        imported,
        entries: outcomes.map((outcome) => ({ ...describe(outcome), outcome: outcome.outcome })),
        blobs: counts.blobs,
        folders: counts.trees,
        bytes_read: counts.bytes,
        bytes_stored: storedBytes,
      },
    )
    if (outcomes.some(({ outcome, present }) => outcome === 'differs' && present && isMarkedLost(present)))
      out.note(
        '  What a repair left there goes with vml rm --logbook THERE ENTRY; then a copy takes this one',
      )
    // What was chosen by a rule may be what cannot even be listed.
    return operands.length === 0 && leftOut > 0 ? damageStatus : statusOf(outcomes)
  },
})

/** One that is to be copied to is made like the one that is copied. */
function withLike(error: unknown, like: string): unknown {
  if (!isFailure(error, 'store.missing') || error.hint === undefined) return error
  const { code, message, details, hint, cause } = error
  return new VmlError(code, message, { details, cause, hint: `${hint} --like ${shown(like)}` })
}

const nothingToClose = { async [Symbol.asyncDispose]() {} }

interface Choice {
  readonly all: boolean
  readonly machine: string | undefined
  readonly project: string | undefined
}

function requireChoice(operands: readonly string[], { all, machine, project }: Choice): void {
  const chosen = all || machine !== undefined || project !== undefined
  if (chosen !== operands.length > 0) return
  throw new VmlError(
    'usage',
    chosen ? 'Cannot take both entries and a rule for them' : 'Cannot tell which entries to copy',
    { hint: 'Name entries, or give --all, --machine NAME or --project NAME' },
  )
}

function choose(
  source: readonly LoggedEntry[],
  operands: readonly string[],
  { machine, project }: Choice,
): readonly LoggedEntry[] {
  if (operands.length === 0) {
    const chosen = source.filter(
      (entry) =>
        (machine === undefined || entry.machine === machine) &&
        (project === undefined || entry.project === project),
    )
    if (chosen.length > 0 || (machine === undefined && project === undefined)) return chosen
    throw new VmlError('not-found', 'Cannot find any such entry: nothing was copied', {
      hint: 'See what is there: vml log',
    })
  }
  return operands.map((operand) => {
    const { entry, path, typed } = parseEntryPath(operand)
    if (path !== undefined)
      throw new VmlError('usage', `Cannot copy "${shown(operand)}": entries are copied whole`)
    return resolveEntry(source, entry, typed)
  })
}

function refuseSame(from: Logbook, into: Logbook): void {
  if (from.repository.id !== into.repository.id) return
  throw new VmlError(
    'usage',
    `Cannot copy ${from.location} to ${into.location}: they are one logbook, or one is a copy of the other's files`,
    {
      details: { id: from.repository.id },
      hint: "Nothing was changed. For a second logbook: vml init DIR --like LOGBOOK. Where one is a copy of the other's files, a damaged file is healed before a repair: put the file of the same name in its place (docs/guide/check-and-repair.md)",
    },
  )
}

function warnOfOtherChunks({ reporter }: Context, from: Logbook, into: Logbook): void {
  const [left, right] = [from.repository.chunker, into.repository.chunker]
  if (left.algorithm === right.algorithm && left.polynomial === right.polynomial) return
  reporter.warn({
    warning: `The two logbooks cut files differently: what is saved into both is stored twice there. vml init --like makes one that does not`,
  })
}

const dryWords = {
  copy: 'would be copied',
  update: 'would be brought up to date',
  heal: 'would be healed: made whole again where damage took from it',
  there: 'is there already',
  differs: 'is there with other content, and would be left as it is',
} as const

const doneWords = {
  copied: 'copied',
  updated: 'brought up to date',
  healed: 'healed: whole again',
  edited: 'brought up to date; its older form stays until nobody else uses the logbook',
  there: 'is there already',
  differs: 'is there with other content, and was left as it is',
  damaged: 'not copied: damaged here',
} as const

/** By its number one of another machine would be taken for one that can be taken back here. */
function requireOwnTransactions({ config }: Context, wanted: readonly LoggedEntry[]): void {
  const own = ownNames(config)
  const other = wanted.find(
    ({ kind, machine, facts }) =>
      kind === 'transaction' && !own.has(machine) && facts?.host !== config.hostName,
  )
  if (other === undefined) return
  const machine = shown(other.machine)
  throw new VmlError(
    'usage',
    `Cannot copy ${entryName(other)} into the logbook of this machine's own transactions: it was made on ${machine}`,
    {
      details: { machine: other.machine },
      hint: `Nothing was changed. Where this machine itself was called so: vml machine add ${machine} local:`,
    },
  )
}

function lineOf({ entry, number, present, step }: PlannedCopy, usual: string): string {
  // Told as what it is: nothing has to be seen to there.
  const words =
    step === 'differs' && present && isMarkedLost(entry) && !isMarkedLost(present)
      ? 'has lost something here; what is there was left as it is: copy it from there to heal it'
      : usual
  const renumbered = number !== undefined && number !== entry.number ? ` (there it is #${number})` : ''
  return `${entryName(entry)}  ${words}${renumbered}  ${shown(entry.title)}`.trimEnd()
}

function describe({ entry, number }: CopyPlan['copies'][number]) {
  return {
    id: entry.id,
    short_id: shortId(entry.id),
    number: entry.number ?? null,
    number_there: number ?? null,
    machine: entry.machine,
    title: entry.title,
  }
}

function statusOf(outcomes: readonly CopyOutcome[]): number {
  if (outcomes.some(({ outcome }) => outcome === 'damaged')) return damageStatus
  return outcomes.some(({ outcome }) => outcome === 'differs') ? partialStatus : 0
}
