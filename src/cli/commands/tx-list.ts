// `vml tx list`: the transactions, newest first: what each did, whether it can be taken back, what that costs.
import { existsSync } from 'node:fs'
import { systemLogbook } from '../../app/system-logbook.ts'
import { entryName, type LoggedEntry } from '../../engine/entries.ts'
import type { ListedTransaction } from '../../transaction/transactions.ts'
import { isDropped } from '../../model/transaction-record.ts'
import { type Context, count, defineCommand } from '../command.ts'
import { listedOf, onOption } from '../on-option.ts'
import { formatBytes, formatMoment, plural } from '../format.ts'
import { shown } from '../options.ts'
import { leftBehindHere } from '../left-behind.ts'
import { describeProbation, isOnProbation, type Probation, type ProbationOf } from '../probation-state.ts'
import { columnWidths, type Style, table, truncate } from '../style.ts'
import { isOwnLogbook } from '../transaction-logbook.ts'

export const command = defineCommand({
  description:
    'Shows the transactions of this machine, newest first: what apt, dpkg, rpm or a command under vml tx run changed.',
  operands: [],
  options: { on: onOption, number: count('-n, --number <count>', 'at most so many') },
  examples: [
    { line: 'vml tx list', does: 'all of them' },
    { line: 'vml tx list -n 5 --json', does: 'the last five, for programs' },
    { line: 'vml tx list --on lab', does: 'those that were made on the machine lab, over ssh' },
    { line: 'vml tx list --logbook /mnt/team/logbook', does: 'those that were copied into another logbook' },
  ],
  async run(context, { options }) {
    const { out } = context
    context.whenCancelled('nothing was changed')
    const { listed, elsewhere, probationOf } = await listedOf(context, options.on)
    const transactions = listed.toReversed().slice(0, options.number)
    out.document({
      schema: 1,
      transactions: transactions.map((each) => describeTransaction(each, probationOf)),
      cut_off: (isOwn(context, options.on) ? await leftBehindHere() : undefined) ?? null,
    })
    if (out.json) return
    if (listed.length === 0) out.note(`No transaction ${await noneText(context, options.on)}`)
    const { style } = out
    const rows = transactions.map((each) => rowOf(each, probationOf, style))
    for (const line of transactionTable(rows, out.width)) out.line(line)
    if (elsewhere.length > 0) out.note(elsewhereText(elsewhere))
  },
})

function isOwn(context: Context, machine: string | undefined): boolean {
  return machine === undefined && isOwnLogbook(context)
}

/** Nothing of them can be taken back here. */
function elsewhereText(entries: readonly LoggedEntry[]): string {
  const machines = [...new Set(entries.map(({ machine }) => shown(machine)))].join(', ')
  return `${plural(entries.length, 'transaction')} of other machines (${machines}) ${entries.length === 1 ? 'is' : 'are'} left out: vml log --logbook ${systemLogbook} shows them. Where this machine itself was called so: vml machine add NAME local:`
}

const titleColumn = 2
/** A title is a whole command, or what somebody gave: one long one is not to move all others out of sight. */
const titleWidthMax = 60
const titleWidthMin = 20

/** Titles are cut on a terminal alone, of `width` columns: elsewhere a program reads them, or a file keeps them. */
export function transactionTable(rows: readonly (readonly string[])[], width: number | undefined): string[] {
  if (width === undefined) return table(rows, [], titleWidthMax)
  const widths = columnWidths(rows)
  const others = widths.reduce((sum, each) => sum + each + 2, 0) - (widths[titleColumn] ?? 0) - 2
  const room = Math.max(titleWidthMin, Math.min(titleWidthMax, width - others))
  return table(
    rows.map((row) => row.map((cell, column) => (column === titleColumn ? truncate(cell, room) : cell))),
  )
}

async function noneText(context: Context, machine: string | undefined): Promise<string> {
  if (machine !== undefined) return `of ${machine} yet: vml tx run --on ${machine} -- COMMAND`
  if (!isOwnLogbook(context)) return 'in this logbook: vml copy brings those of a machine into another one'
  const { hookFolder } = await import('../../packages/hook-scripts.ts')
  return existsSync(hookFolder)
    ? 'yet: the next run of a package manager makes one, or vml tx run -- COMMAND'
    : 'yet: vml tx enable, or vml tx run -- COMMAND'
}

function probationMark(note: Probation | undefined, style: Style): string {
  if (note === undefined) return ''
  return isOnProbation(note) ? style.yellow('[on probation]') : style.red('[not taken back]')
}

function rowOf(listed: ListedTransaction, probationOf: ProbationOf, style: Style): string[] {
  const { entry, document, undoneBy, undoneInPart, broughtBackInPart } = listed
  const marks = [
    document.mode === 'live' && document.source !== 'hand' ? style.dim('[live]') : '',
    isDropped(document)
      ? style.red('[pre-images dropped]')
      : document.complete
        ? ''
        : style.red('[incomplete]'),
    undoneBy ? style.dim(`[undone by ${entryName(undoneBy)}${undoneInPart ? ', in part' : ''}]`) : '',
    broughtBackInPart ? style.dim(`[brought back by ${entryName(broughtBackInPart)}, in part]`) : '',
    probationMark(probationOf(listed), style),
  ]
  return [
    style.yellow(entryName(entry)),
    formatMoment(entry.takenAt),
    shown(entry.title),
    packagesText(document.packages),
    plural(pathsOf(document.counts), 'path'),
    formatBytes(document.storedBytes),
    marks.filter((mark) => mark !== '').join(' '),
  ]
}

export function describeTransaction(listed: ListedTransaction, probationOf: ProbationOf) {
  const { entry, document, undoneBy, undoneInPart } = listed
  return {
    number: entry.number ?? null,
    id: entry.id,
    time: document.startedAt,
    title: entry.title,
    note: entry.note,
    machine: entry.machine,
    source: document.source,
    mode: document.mode,
    exit_status: document.exitStatus,
    packages: document.packages,
    counts: document.counts,
    complete: document.complete,
    dropped: isDropped(document),
    stored_bytes: document.storedBytes,
    undone_by: undoneBy?.number ?? null,
    undone_in_part: undoneInPart,
    brought_back_in_part_by: listed.broughtBackInPart?.number ?? null,
    probation: describeProbation(probationOf(listed)),
  }
}

function pathsOf({
  created,
  changed,
  deleted,
}: {
  created: number
  changed: number
  deleted: number
}): number {
  return created + changed + deleted
}

/** `+3 −1 ~45`: installed, removed, other version. */
export function packagesText(packages: ListedTransaction['document']['packages']): string {
  const installed = packages.filter(({ fate }) => fate === 'installed').length
  // Of one that was removed before, only the configuration is purged.
  const removed = packages.filter(
    ({ fate, from }) => (fate === 'removed' || fate === 'purged') && from !== undefined,
  ).length
  const other = packages.filter(({ fate }) => fate === 'upgraded' || fate === 'downgraded').length
  return [
    installed > 0 ? `+${installed}` : '',
    removed > 0 ? `−${removed}` : '',
    other > 0 ? `~${other}` : '',
  ]
    .filter((part) => part !== '')
    .join(' ')
}
