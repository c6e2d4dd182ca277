// `vml tx show ID`: one transaction in full: who, what, packages, paths, services, and how it can be taken back.
import { printable } from '../../base/raw-text.ts'
import { entryName, entryWord } from '../../engine/entries.ts'
import { readTransaction } from '../../transaction/transaction-entry.ts'
import {
  findTransaction,
  type ListedTransaction,
  takenBackWith,
  wayBack,
} from '../../transaction/transactions.ts'
import { isTimeOnly } from '../../model/mere-writing.ts'
import { isDropped, type PackageTransition } from '../../model/transaction-record.ts'
import type { RecordedChange } from '../../model/transaction.ts'
import { defineCommand, flag, type Operand } from '../command.ts'
import { textOn, workOn } from '../command-on.ts'
import { formatBytes, formatDuration, formatMoment, plural } from '../format.ts'
import { listedOf, onOption } from '../on-option.ts'
import { shown } from '../options.ts'
import type { Output } from '../output.ts'
import { probationText } from '../probation-state.ts'
import { table } from '../style.ts'
import { validationText } from '../validation-text.ts'
import { isOwnLogbook } from '../transaction-logbook.ts'
import { describeTransaction } from './tx-list.ts'

export const transactionOperand: Operand = {
  name: 'ID',
  description: 'a transaction, by its number',
  required: true,
  complete: 'none',
}

const gapsShown = 20

export const command = defineCommand({
  description:
    'Shows one transaction: who ran what, which packages, paths and services it changed, and what is kept to take it back.',
  operands: [transactionOperand],
  options: { on: onOption, paths: flag('--paths', 'each path, with what happened to it') },
  examples: [
    { line: 'vml tx show 7', does: 'the transaction #7' },
    { line: 'vml tx show 7 --paths', does: 'with every path that it changed' },
    { line: 'vml tx show 7 --json', does: 'all that is recorded, for programs' },
  ],
  async run(context, { operands: [typed = ''], options }) {
    const { out, signal } = context
    context.whenCancelled('nothing was changed')
    const { logbook, listed: all, elsewhere, probationOf } = await listedOf(context, options.on)
    const { listed, read } = await workOn(context, options.on, async () => {
      const found = findTransaction({ listed: all, elsewhere }, typed, 'look')
      return { listed: found, read: await readTransaction(logbook.repository, found.entry, { signal }) }
    })
    const { document, changes } = read
    out.document({
      schema: 1,
      ...describeTransaction(listed, probationOf),
      command: document.command.map(printable),
      user: document.user,
      ended: document.endedAt,
      services: document.services,
      validations: document.validations,
      gaps: document.gaps.map(({ path, reason }) => ({ path: printable(path), reason })),
      not_kept: (document.notKept ?? []).map(({ path, reason }) => ({ path: printable(path), reason })),
      paths: changes.map(describeChange),
    })
    if (out.json) return
    const { entry, undoneBy, undoneInPart } = listed
    const { user } = document
    const isOwn = isOwnLogbook(context)
    out.line(out.style.bold(`${entryName(entry)}  ${shown(entry.title)}`))
    const ran = Date.parse(document.endedAt) - Date.parse(document.startedAt)
    const rows: [string, string][] = [
      ['when', `${formatMoment(entry.takenAt)}, ${formatDuration(ran)}`],
      ['who', user.login === undefined ? shown(user.name) : `${shown(user.login)} as ${shown(user.name)}`],
      ...(document.command.length === 0
        ? []
        : [['command', document.command.map(printable).join(' ')] satisfies [string, string]]),
      [
        'how',
        document.source === 'hand'
          ? 'by hand, found by comparison'
          : document.mode === 'staged'
            ? 'in a stage, committed whole'
            : `live${document.modeReason === undefined ? '' : `: ${shown(document.modeReason)}`}`,
      ],
      [
        'paths',
        `${document.counts.created} created, ${document.counts.changed} changed${timeOnlyText(changes)}, ${document.counts.deleted} deleted`,
      ],
      ['kept', keptText(changes, document.storedBytes)],
    ]
    if (document.exitStatus !== 0) rows.push(['ended', `with status ${document.exitStatus}`])
    if (entry.note !== '') rows.push(['note', shown(entry.note)])
    const probation = probationOf(listed)
    if (probation) rows.push(['probation', probationText(probation)])
    if (listed.broughtBackInPart)
      rows.push(['redo', `brought back by ${entryName(listed.broughtBackInPart)}, in part`])
    rows.push([
      'undo',
      undoneBy
        ? `undone by ${entryName(undoneBy)}${undoneInPart ? ', in part' : ''}${isOwn ? `; ${textOn(wayBack(listed, all), options.on)} brings it back${withOthers(listed, all)}` : ''}`
        : document.complete
          ? isOwn
            ? textOn(`vml tx undo ${entryWord(entry)}`, options.on)
            : `on ${shown(entry.machine)}, from its own logbook: vml tx list there has its number`
          : isDropped(document)
            ? out.style.red('its pre-images were dropped for the budget')
            : out.style.red(`incomplete: ${plural(document.gaps.length, 'pre-image')} cannot be had`),
    ])
    for (const line of table(rows.map(([name, value]) => [`  ${out.style.dim(name)}`, value]))) out.line(line)
    printPackages(out, document.packages)
    for (const { path, reason } of isDropped(document) ? [] : document.gaps.slice(0, gapsShown))
      out.line(`  ${out.style.red('cannot be had')}  ${printable(path)}  ${shown(reason)}`)
    for (const { path, reason } of document.notKept?.slice(0, gapsShown) ?? [])
      out.line(`  ${out.style.red('not kept')}  ${printable(path)}  ${shown(reason)}`)
    for (const { unit, action, outcome, stoppedMs } of document.services)
      out.line(
        `  ${shown(unit)}  ${action} ${outcome}${stoppedMs === undefined ? '' : `, stopped for ${formatDuration(stoppedMs)}`}`,
      )
    for (const each of document.validations) out.line(`  ${shown(each.name)}  ${validationText(each)}`)
    if (options.paths) {
      out.line()
      for (const change of changes) out.line(`${markOf(change)} ${printable(change.path)}`)
    }
  },
})

function withOthers(one: ListedTransaction, all: readonly ListedTransaction[]): string {
  const { length } = takenBackWith(one, all)
  return length === 0 ? '' : `, with ${plural(length, 'other')} that it was taken back with`
}

function describeChange({ path, before, after, owner, preImage }: RecordedChange) {
  return {
    path: printable(path),
    raw: Buffer.from(path, 'latin1').toString('base64'),
    change: before === undefined ? 'created' : after === undefined ? 'deleted' : 'changed',
    owner,
    pre_image: preImage.kind,
    before_sha256: before?.sha256 ?? null,
    after_sha256: after?.sha256 ?? null,
  }
}

function timeOnlyText(changes: readonly RecordedChange[]): string {
  const count = changes.filter(isTimeOnly).length
  return count === 0 ? '' : ` (${count} of them only in time)`
}

function markOf(change: RecordedChange): string {
  if (change.before === undefined) return '+'
  return change.after === undefined ? '−' : isTimeOnly(change) ? 't' : 'M'
}

function keptText(changes: readonly RecordedChange[], storedBytes: number): string {
  const kinds = new Map<string, number>()
  for (const { preImage } of changes) kinds.set(preImage.kind, (kinds.get(preImage.kind) ?? 0) + 1)
  kinds.delete('fingerprint')
  const words = [...kinds].map(([kind, count]) => `${count} ${kind}`)
  return `${formatBytes(storedBytes)}${words.length === 0 ? '' : `: ${words.join(', ')}`}`
}

function printPackages(out: Output, packages: readonly PackageTransition[]): void {
  if (packages.length === 0) return
  out.line()
  const rows = packages.map(({ name, architecture, from, to, automatic, neededBy, origin }) => [
    from === undefined ? out.style.green('+') : to === undefined ? out.style.red('−') : out.style.yellow('~'),
    `${shown(name)}:${shown(architecture)}`,
    [from, to]
      .filter((version) => version !== undefined)
      .map(shown)
      .join(' → '),
    [
      automatic ? 'automatic' : '',
      neededBy && neededBy.length > 0 ? `for ${neededBy.slice(0, 3).map(shown).join(', ')}` : '',
      origin === undefined ? '' : shown(origin),
    ]
      .filter((part) => part !== '')
      .join(', '),
  ])
  for (const line of table(rows)) out.line(`  ${line}`)
}
