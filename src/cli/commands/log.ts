// `vml log`: the timeline of entries, newest first, by day.
import { printableText } from '../../base/raw-text.ts'
import { VmlError } from '../../base/failure.ts'
import { entryName, isImported, listEntries, type LoggedEntry, lostTag } from '../../engine/entries.ts'
import { parseDuration } from '../../model/quantities.ts'
import { count, defineCommand, flag, type Operand, text, texts } from '../command.ts'
import { describeEntry } from '../describe-entry.ts'
import { formatDay, formatTime, plural } from '../format.ts'
import type { Output } from '../output.ts'
import { describeLost, restorableOf } from '../restorable.ts'
import { displayWidth, padEnd, padStart, truncate } from '../style.ts'

const machineOperand: Operand = {
  name: 'MACHINE',
  description: 'only entries of this machine',
  required: false,
  complete: 'machine',
}

export const command = defineCommand({
  description: 'Shows the timeline of entries, newest first, in local time.',
  operands: [machineOperand],
  options: {
    machine: text('--machine <name>', 'only this machine', 'machine'),
    project: text('--project <name>', 'only this project', 'project'),
    tag: texts('--tag <tag>', 'only with this tag; each one given must be there', 'tag'),
    since: text('--since <when>', 'only from then on: 2w, 3d, 12h, 2026-11-03'),
    grep: text('--grep <text>', 'only where title, note or tag holds this text'),
    number: count('-n, --number <count>', 'at most so many'),
    safety: flag('--no-safety', 'without the safety entries that VML makes before it changes a machine'),
  },
  examples: [
    { line: 'vml log', does: 'everything' },
    {
      line: 'vml log --machine lab --since 2w --grep fit',
      does: 'of one machine, two weeks back, with a word',
    },
    { line: 'vml log --project thesis -n 5 --json', does: 'the last five of a project, for programs' },
  ],
  async run(context, { operands: [machine], options }) {
    const { out, clock } = context
    context.whenCancelled('nothing was changed')
    const logbook = await context.openLogbook()
    const since = options.since === undefined ? undefined : parseSince(options.since, clock.now())
    let leftOut = 0
    const onLeftOut = () => void leftOut++
    const all = await listEntries(logbook, { signal: context.signal, reporter: context.reporter, onLeftOut })
    const wantedMachine = machine ?? options.machine
    if (
      wantedMachine !== undefined &&
      !context.config.machines.has(wantedMachine) &&
      !all.some((entry) => entry.machine === wantedMachine)
    )
      throw new VmlError(
        'not-found',
        `Cannot find machine "${wantedMachine}" in the configuration or the logbook`,
        {
          hint: 'See the names: vml machine list',
        },
      )
    const grep = options.grep?.toLowerCase()
    const entries = all
      .filter(
        (entry) =>
          (wantedMachine === undefined || entry.machine === wantedMachine) &&
          (options.project === undefined || entry.project === options.project) &&
          options.tag.every((tag) => entry.tags.includes(tag)) &&
          (options.safety || entry.kind !== 'safety') &&
          (since === undefined || entry.takenAt.getTime() >= since) &&
          (grep === undefined || searched(entry).includes(grep)),
      )
      .reverse()
      .slice(0, options.number)
    out.document({ schema: 1, entries: entries.map(describeEntry) })
    if (out.json) return
    printTimeline(out, entries)
    if (leftOut > 0)
      out.note(
        `Without ${plural(leftOut, 'entry', 'entries')} whose ${leftOut === 1 ? 'snapshot is' : 'snapshots are'} damaged: vml check --repair may find ${leftOut === 1 ? 'it' : 'them'} again`,
      )
    else if (all.length === 0) out.note('No entry yet: vml save MACHINE -m TITLE')
    if (all.length > 0 && entries.length === 0)
      out.note(`None of ${plural(all.length, 'entry', 'entries')} is like that`)
  },
})

function printTimeline(out: Output, entries: readonly LoggedEntry[]): void {
  const { style } = out
  const names = entries.map(entryName)
  const nameWidth = Math.max(0, ...names.map((name) => name.length))
  const machineWidth = Math.min(
    20,
    Math.max(0, ...entries.map((entry) => displayWidth(shown(entry.machine)))),
  )
  let day = ''
  entries.forEach((entry, index) => {
    const entryDay = formatDay(entry.takenAt)
    if (entryDay !== day) {
      if (day !== '') out.line()
      out.line(style.bold(entryDay))
      day = entryDay
    }
    const { size, lost } = sizesOf(entry)
    const head = [
      style.yellow(padStart(names[index] ?? '', nameWidth + 2)),
      formatTime(entry.takenAt),
      style.cyan(padEnd(truncate(shown(entry.machine), machineWidth), machineWidth)),
    ].join('  ')
    const marks = [
      entry.kind === 'environment' ? '' : style.dim(`[${entry.kind}]`),
      isImported(entry) ? style.dim('[imported]') : '',
      entry.facts?.outcome === 'partial' || entry.snapshot.tags.includes(lostTag)
        ? style.red('[partial]')
        : '',
      entry.project === undefined ? '' : style.green(`{${shown(entry.project)}}`),
      ...entry.tags.map((tag) => style.green(`+${shown(tag)}`)),
    ].filter((mark) => mark !== '')
    const tail = [...marks, style.dim(size), lost === '' ? '' : style.red(lost)]
      .filter((part) => part !== '')
      .join(' ')
    const room = out.width === undefined ? undefined : out.width - displayWidth(head) - displayWidth(tail) - 4
    const title = entry.title === '' ? '(no title)' : shown(entry.title)
    const fitted = room === undefined ? title : truncate(title, Math.max(12, room))
    out.line(`${head}  ${entry.title === '' ? style.dim(fitted) : fitted}  ${tail}`.trimEnd())
    if (out.verbose && entry.note !== '')
      for (const line of entry.note.split('\n'))
        out.line(`${' '.repeat(nameWidth + 4)}${style.dim(shown(line))}`)
  })
}

/** What can be restored, and what damage took. */
function sizesOf({ facts }: LoggedEntry): { readonly size: string; readonly lost: string } {
  if (!facts) return { size: '', lost: '' }
  const { files, bytes } = restorableOf(facts.statistics, facts.lost)
  const lost = facts.lost && describeLost(facts.lost)
  return { size: `${files} ${bytes}`, lost: lost === undefined ? '' : `(${lost}, lost to damage)` }
}

function searched(entry: LoggedEntry): string {
  return [entry.title, entry.note, ...entry.tags].join('\n').toLowerCase()
}

/** Titles, tags and machines may come from a share of somebody else. */
function shown(text: string): string {
  return printableText(text)
}

/** A span back from now, or the start of a day. */
function parseSince(text: string, now: number): number {
  const span = parseDuration(text, ['m', 'min', 'h', 'd', 'w', 'y'])
  if (span !== undefined) return now - span
  const day = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d))?$/.exec(text)
  if (day) {
    const [year = 0, month = 1, date = 1, hour = 0, minute = 0] = day
      .slice(1)
      .map((part) => Number(part ?? 0))
    return new Date(year, month - 1, date, hour, minute).getTime()
  }
  throw new VmlError('usage', `Cannot read "${text}" as a time`, {
    hint: 'Write 12h, 3d, 2w, 1y, or a day such as 2026-11-03',
  })
}
