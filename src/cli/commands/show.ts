// `vml show ENTRY`: everything that is known of one entry.
import { isFailure } from '../../base/failure.ts'
import { asRaw, printable, rawFromBytes } from '../../base/raw-text.ts'
import { entryName, type LoggedEntry, lostTotals } from '../../engine/entries.ts'
import { describeEntryFully, type EntryDetails, findEntry, listPath, readPath } from '../../engine/look.ts'
import type { EntryDocument } from '../../model/entry.ts'
import type { LostPath } from '../../model/lost.ts'
import { parseTypedPath } from '../../model/entry-reference.ts'
import { baseName } from '../../model/raw-path.ts'
import type { Repository } from '../../store/store.ts'
import { defineCommand, flag } from '../command.ts'
import { describeEntry } from '../describe-entry.ts'
import { formatBytes, formatCount, formatMomentInZone, plural } from '../format.ts'
import { entryOperand, shown } from '../options.ts'
import type { Output } from '../output.ts'
import { lostLine, lostOutcome, restorableOf } from '../restorable.ts'
import { padEnd } from '../style.ts'

/** Longer lists are for --verbose and --json. */
const shownMax = 12

export const command = defineCommand({
  description:
    'Shows one entry in full: what was read and what was not, by which rule, and what the machine was.',
  operands: [entryOperand],
  options: {
    env: flag('--env', 'its environment variables'),
    packages: flag('--packages', 'its packages'),
    history: flag('--history', 'its shell history, as it stands in the entry'),
  },
  examples: [
    { line: 'vml show 42', does: 'all facts of an entry' },
    { line: 'vml show lab@latest --env', does: 'its environment variables' },
    { line: 'vml show 42 --packages --json', does: 'its packages, for programs' },
  ],
  async run(context, { operands: [typed = ''], options }) {
    const { out, signal } = context
    context.whenCancelled('nothing was changed')
    const logbook = await context.openLogbook()
    const { entry } = await findEntry(logbook, typed, { signal, reporter: context.reporter })
    const details = await describeEntryFully(logbook.repository, entry, { signal })
    const histories = options.history ? await readHistories(logbook.repository, entry, signal) : []
    if (out.json) {
      out.document(describe(details, options, histories))
      return
    }
    if (options.env || options.packages || options.history) {
      if (options.env) printVariables(out, details)
      if (options.packages) printPackages(out, details)
      if (options.history) printHistories(out, histories)
      return
    }
    printFacts(out, details)
  },
})

function printFacts(out: Output, details: EntryDetails): void {
  const { entry, document, packages, variables, lost } = details
  const { style } = out
  const row = (name: string, value: string | undefined) => {
    if (value !== undefined && value !== '') out.line(`${style.dim(padEnd(name, 12))} ${value}`)
  }
  out.line(`${style.yellow(entryName(entry))}  ${style.bold(shown(entry.title) || '(no title)')}`)
  for (const line of entry.note === '' ? [] : entry.note.split('\n')) out.line(`    ${shown(line)}`)
  row('id', entry.id)
  if (entry.snapshot.original !== undefined) row('snapshot', entry.snapshot.id)
  row('machine', shown(entry.machine))
  row('kind', entry.kind)
  row('project', entry.project && shown(entry.project))
  row('tags', entry.tags.map(shown).join(', '))
  row('taken', formatMomentInZone(entry.takenAt))
  if (!document) {
    const taken = lostOutcome(lost)
    row('outcome', taken && style.red(`partial: ${taken}`))
    row('paths', entry.snapshot.paths.map(shown).join(', '))
    row('written by', entry.snapshot.programVersion && shown(entry.snapshot.programVersion))
    printLost(out, lost)
    return
  }
  const { facts, statistics, user } = document
  const outcome = outcomeOf(details)
  row('outcome', outcome === undefined ? 'complete' : style.red(`partial: ${outcome}`))
  row('mode', `${document.mode}${document.modeReason === undefined ? '' : `: ${shown(document.modeReason)}`}`)
  row('user', `${shown(user.name)} (${user.uid}:${user.gid}), home ${shown(user.home)}`)
  row('system', facts.os?.['PRETTY_NAME'] && shown(facts.os['PRETTY_NAME']))
  row('cernvm', facts.cernvmRelease && shown(facts.cernvmRelease))
  row(
    'kernel',
    [facts.kernel, facts.architecture].flatMap((fact) => (fact === undefined ? [] : [shown(fact)])).join(' '),
  )
  if (document.image)
    row(
      'image',
      `${shown(document.image.name)}@${shown(document.image.version)}${document.image.guessed ? ' (guessed)' : ''}`,
    )
  row('packages', packages && `${plural(packages.packages.length, 'package')} (${packages.manager})`)
  row('variables', variables && plural(variables.size, 'variable'))
  const left = restorableOf(statistics, lostTotals(lost))
  const others =
    statistics.others === 0
      ? ''
      : `, ${plural(statistics.others, 'link or special file', 'links and special files')}`
  row('files', `${left.files}, ${plural(statistics.folders, 'folder')}${others}; ${left.bytes}`)
  row('read', `${plural(statistics.filesRead, 'file')}, ${formatBytes(statistics.bytesRead)}`)
  printLost(out, lost)
  printLists(out, document, new Set(lost.map(({ raw }) => raw)))
}

/** Why it is partial: damage and what a save could not read are two things. Undefined where it is not. */
function outcomeOf({ document, lost }: EntryDetails): string | undefined {
  const lostRaw = new Set(lost.map(({ raw }) => raw))
  const unread = document?.problems.some(
    ({ raw, problem }) => (problem === 'unreadable' || problem === 'dead-mount') && !lostRaw.has(raw),
  )
  const reasons = [lostOutcome(lost), unread ? 'some paths could not be read' : undefined].filter(
    (reason) => reason !== undefined,
  )
  if (reasons.length > 0) return reasons.join('; ')
  return document?.outcome === 'partial' ? 'some paths could not be read' : undefined
}

function printLost(out: Output, lost: readonly LostPath[]): void {
  list(out, 'Lost to damage', lost.map(lostLine))
}

/** Problems but for `told`: paths that were lost. */
function printLists(out: Output, document: EntryDocument, told: ReadonlySet<string>): void {
  list(
    out,
    'Roots',
    document.roots.map(({ path, why }) => `${path}  (${why})`),
  )
  list(
    out,
    'Cache parts',
    document.caches.map(
      (part) =>
        `${shown(part.name)}  ${part.path}  ${plural(part.files, 'file')}, ${formatBytes(part.bytes)}`,
    ),
  )
  const rules = new Map<string, number>()
  for (const { rule } of document.excluded) rules.set(rule, (rules.get(rule) ?? 0) + 1)
  list(
    out,
    'Left out, by rule',
    [...rules].map(([rule, count]) => `${shown(rule)}  ${plural(count, 'path')}`),
  )
  if (out.verbose)
    list(
      out,
      'Left out',
      document.excluded.map(({ path, rule }) => `${path}  ${shown(rule)}`),
    )
  list(
    out,
    'Mounts not entered',
    document.mounts.map(({ path, type }) => `${path}  (${shown(type)})`),
  )
  list(
    out,
    'CernVM-FS',
    document.cvmfs.map(
      ({ repository, revision }) =>
        `${shown(repository)}${revision === undefined ? '' : ` revision ${shown(revision)}`}`,
    ),
  )
  list(
    out,
    'Problems',
    document.problems
      .filter(({ raw }) => !told.has(raw))
      .map(
        ({ path, problem, message }) =>
          `${path}  ${problem}${message === undefined ? '' : `: ${shown(message)}`}`,
      ),
  )
  list(out, 'Not recorded', document.fidelity.notes.map(shown))
}

function list(out: Output, title: string, lines: readonly string[]): void {
  if (lines.length === 0) return
  out.line()
  out.line(out.style.bold(title))
  const shownLines = out.verbose ? lines : lines.slice(0, shownMax)
  for (const line of shownLines) out.line(`  ${line}`)
  if (shownLines.length < lines.length)
    out.line(out.style.dim(`  and ${formatCount(lines.length - shownLines.length)} more (-v shows all)`))
}

function printVariables(out: Output, { variables }: EntryDetails): void {
  if (!variables) out.note('This entry has no environment variables')
  for (const [name, value] of variables ?? []) out.line(`${printable(name)}=${printable(value)}`)
}

function printPackages(out: Output, { packages }: EntryDetails): void {
  if (!packages) out.note('This entry has no list of packages')
  for (const { name, version, architecture } of packages?.packages ?? [])
    out.line(`${shown(name)} ${shown(version)} ${shown(architecture)}`)
}

function printHistories(out: Output, histories: readonly History[]): void {
  if (histories.length === 0) out.note('This entry has no shell history')
  for (const { shell, content } of histories) {
    if (histories.length > 1) out.line(out.style.bold(shown(shell)))
    for (const line of content.replace(/\n$/, '').split('\n')) out.line(printable(asRaw(line)))
  }
}

interface History {
  readonly shell: string
  /** Bytes, one character each. */
  readonly content: string
}

/** The files of `/.vml/history/`, each named for its shell. */
async function readHistories(
  repository: Repository,
  entry: LoggedEntry,
  signal: AbortSignal,
): Promise<readonly History[]> {
  const folder = parseTypedPath('/.vml/history')
  const histories: History[] = []
  try {
    for await (const { path, node } of listPath(
      repository,
      { entry, path: folder },
      { recursive: false, signal },
    )) {
      if (node.type !== 'file') continue
      const parts: string[] = []
      for await (const segment of await readPath(repository, { entry, path }, signal))
        if (segment.kind === 'data') parts.push(rawFromBytes(segment.bytes))
      histories.push({ shell: baseName(path), content: parts.join('') })
    }
  } catch (error) {
    if (!isFailure(error, 'not-found')) throw error
  }
  return histories
}

function describe(
  details: EntryDetails,
  options: { env: boolean; packages: boolean },
  histories: readonly History[],
) {
  const { entry, document, packages, variables, lost } = details
  return {
    schema: 1,
    ...describeEntry(entry),
    paths: entry.snapshot.paths,
    ...(histories.length > 0
      ? {
          history: histories.map(({ shell, content }) => ({
            shell,
            lines: content.split('\n').map((line) => printable(asRaw(line))),
          })),
        }
      : {}),
    document: document ?? null,
    ...(lost.length === 0 ? {} : { lost_paths: lost }),
    packages: packages
      ? {
          manager: packages.manager,
          count: packages.packages.length,
          ...(options.packages ? { list: packages.packages } : {}),
        }
      : null,
    variables: variables
      ? {
          count: variables.size,
          ...(options.env
            ? {
                list: [...variables].map(([name, value]) => ({
                  name: printable(name),
                  value: printable(value),
                })),
              }
            : {}),
        }
      : null,
  }
}
