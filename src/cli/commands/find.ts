// `vml find PATTERN`: in which entries a path existed, and when it changed.
import { printable } from '../../base/raw-text.ts'
import { entryName, listEntries } from '../../engine/entries.ts'
import { findPaths, type FoundPath, type FoundVersion } from '../../engine/find.ts'
import { defineCommand, flag, operand, text } from '../command.ts'
import { ranges } from '../entry-ranges.ts'
import { formatBytes, formatMoment, plural } from '../format.ts'
import { wordsOf } from '../not-compared.ts'
import { shown } from '../options.ts'
import type { Output } from '../output.ts'
import { table } from '../style.ts'
import { describeNode } from './ls.ts'

export const command = defineCommand({
  description:
    'Tells in which entries a path existed and when it changed. A pattern with a slash is compared with whole paths, one without with names; * ? [a-z], and ** across folders.',
  operands: [operand('PATTERN', 'such as fit*.C, /home/lab/**/*.root')],
  options: {
    history: flag('--history', 'every version of each path'),
    machine: text('--machine <name>', 'only in entries of this machine', 'machine'),
    project: text('--project <name>', 'only in entries of this project', 'project'),
  },
  examples: [
    { line: "vml find 'fit*.C'", does: 'in which entries such files are' },
    { line: 'vml find /home/lab/fit.C --history', does: 'every version of a file' },
    { line: "vml find '/etc/**/*.conf' --machine lab --json", does: 'for programs' },
  ],
  async run(context, { operands: [pattern = ''], options }) {
    const { out, signal } = context
    context.whenCancelled('nothing was changed')
    const logbook = await context.openLogbook()
    const entries = (await listEntries(logbook, { signal, reporter: context.reporter })).filter(
      (entry) =>
        (options.machine === undefined || entry.machine === options.machine) &&
        (options.project === undefined || entry.project === options.project),
    )
    const found = await findPaths(logbook.repository, entries, pattern, signal)
    out.document({ schema: 1, paths: found.map(describe) })
    const print = options.history ? printHistory : printPath
    for (const path of found) print(out, path)
    if (found.length === 0) out.note(`Nothing of that name in ${plural(entries.length, 'entry', 'entries')}`)
    // As grep, nothing found is no success; 4 is the status of what is not found.
    return found.length === 0 ? 4 : 0
  },
})

function printPath(out: Output, { path, machine, versions }: FoundPath): void {
  const there = versions.filter((version) => version.node !== undefined)
  const entries = there.flatMap((version) => version.entries)
  const last = versions.at(-1)
  const ending =
    last === undefined || last.node !== undefined
      ? ''
      : last.unknown === undefined
        ? `gone since ${firstName(last)}`
        : `${wordsOf(last.unknown)} in ${ranges(last.entries)}`
  const count = there.length > 1 ? `  ${plural(there.length, 'version')}` : ''
  out.line(
    `${printable(path)}  ${out.style.dim(`${shown(machine)} ${ranges(entries)}`.trimEnd())}${count}${ending === '' ? '' : `  ${out.style.red(ending)}`}`,
  )
}

function printHistory(out: Output, { path, machine, versions }: FoundPath): void {
  out.line(`${out.style.bold(printable(path))}  ${out.style.dim(shown(machine))}`)
  const rows = versions.map(({ node, unknown, entries }) => [
    `  ${ranges(entries)}`,
    node === undefined ? out.style.red(unknown === undefined ? 'not there' : wordsOf(unknown)) : node.type,
    node?.size === undefined ? '' : formatBytes(node.size),
    node === undefined ? '' : formatMoment(new Date(Number(node.mtimeNs / 1_000_000n))),
  ])
  for (const line of table(rows)) out.line(line)
}

function firstName(version: FoundVersion | undefined): string {
  return version?.entries[0] ? entryName(version.entries[0]) : ''
}

function describe({ machine, path, versions }: FoundPath) {
  return {
    path: printable(path),
    raw: Buffer.from(path, 'latin1').toString('base64'),
    machine,
    versions: versions.map(({ node, unknown, entries }) => ({
      entries: entries.map((entry) => ({ id: entry.id, number: entry.number ?? null })),
      node: node ? describeNode(path, node) : null,
      // Why null does not say that it was not there.
      ...(unknown === undefined ? {} : { unknown }),
    })),
  }
}
