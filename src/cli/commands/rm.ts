// `vml rm ENTRY…`: removes entries from the logbook.
import { VmlError } from '../../base/failure.ts'
import { entryName, entryWord, type LoggedEntry } from '../../engine/entries.ts'
import { chooseProven } from '../../engine/proven-entries.ts'
import { recordRemoverOf } from '../../app/record-keeping.ts'
import {
  forgottenChanges,
  planRecordRemoval,
  runRecordRemoval,
} from '../../transaction/remove-transactions.ts'
import { planRemove, runRemove } from '../../engine/remove.ts'
import { parseEntryPath, resolveEntry } from '../../model/entry-reference.ts'
import { defineCommand, dryRun } from '../command.ts'
import { describeEntry } from '../describe-entry.ts'
import { formatMoment, plural } from '../format.ts'
import { entryOperand, shown } from '../options.ts'

export const command = defineCommand({
  description:
    'Removes entries. Numbers and ids of the others stay. What other entries share stays; the space of the rest is freed by vml prune. A transaction that needs what a removed one keeps gets it first; an undo goes only together with what it took back.',
  operands: [{ ...entryOperand, many: true }],
  options: { dryRun },
  examples: [
    { line: 'vml rm 42', does: 'one entry, after a question' },
    { line: 'vml rm 30..35 --dry-run', does: 'only show which those are' },
    { line: 'vml rm 3 draft --yes', does: 'several, without a question' },
  ],
  async run(context, { operands, options }) {
    const { out, signal } = context
    context.whenCancelled('nothing was changed')
    const logbook = await context.openLogbook()
    const plan = await chooseProven(
      logbook,
      (entries) => planRemove(operands.flatMap((typed) => resolveMany(entries, typed))),
      { signal, reporter: context.reporter, damaged: 'fail', entriesOf: ({ entries }) => entries },
    )
    // Records of transactions may stand on each other.
    const remover = recordRemoverOf(context, logbook)
    const records = await planRecordRemoval(remover, plan)
    const what = plural(plan.entries.length, 'entry', 'entries')
    for (const entry of plan.entries)
      out.line(
        `${options.dryRun ? 'Would remove' : 'Remove'} ${entryName(entry)}  ${formatMoment(entry.takenAt)}  ${shown(entry.machine)}  ${[shown(entry.title), ...entry.tags.map((tag) => `+${shown(tag)}`)].join(' ')}`,
      )
    const rewritten = records ? [...records.dependents.keys()].map(({ entry }) => entry) : []
    for (const entry of rewritten)
      out.line(
        `${options.dryRun ? 'Would rewrite' : 'Rewrite'} ${entryName(entry)}, which needs what they keep: it gets that itself`,
      )
    const forgotten = records && forgottenChanges(records)
    if (forgotten)
      out.note(
        `What ${forgotten.by.slice(0, namesMax).map(entryName).join(', ')}${forgotten.by.length > namesMax ? ` and ${forgotten.by.length - namesMax} more` : ''} changed stays then: vml tx undo --to-before ${entryWord(forgotten.before)}, or an older one, does not take it back, and counts it as changed since`,
      )
    if (!options.dryRun) {
      await context.confirm(`Remove ${what}? There is no way back.`)
      context.whenCancelled('some of these entries may be removed by now, and vml log tells which are there')
      await (records ? runRecordRemoval(remover, records) : runRemove(logbook, plan, signal))
    }
    out.document({
      schema: 1,
      dry_run: options.dryRun,
      removed: plan.entries.map(describeEntry),
      rewritten: rewritten.map(describeEntry),
    })
    if (!options.dryRun) out.note(`Removed ${what}. vml prune frees the space`)
  },
})

const namesMax = 20

/** One entry, or `#30..#35`: those that are there of a range of numbers. */
function resolveMany(entries: readonly LoggedEntry[], typed: string): readonly LoggedEntry[] {
  const range = /^#?(\d{1,15})\.\.#?(\d{1,15})$/.exec(typed)
  if (range) {
    const [from, to] = [Number(range[1]), Number(range[2])]
    if (from > to)
      throw new VmlError('usage', `Cannot read "${typed}": the smaller number comes first`, {
        hint: `Nothing was removed. Write ${to}..${from}`,
      })
    const numbers = entries.filter(
      (entry) => entry.number !== undefined && entry.number >= from && entry.number <= to,
    )
    if (numbers.length === 0) throw new VmlError('not-found', `Cannot find any entry in ${typed}`)
    // Each by its name, so that a number that two entries have is refused here too.
    return numbers.map((entry) =>
      resolveEntry(entries, { kind: 'number', number: entry.number ?? 0 }, entryName(entry)),
    )
  }
  const { entry: reference, path, typed: name } = parseEntryPath(typed)
  if (path !== undefined)
    throw new VmlError('usage', `Cannot remove "${shown(typed)}": entries are removed whole`)
  return [resolveEntry(entries, reference, name)]
}
