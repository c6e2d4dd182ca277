// What may follow on the command line: verbs, options, entries, machines, tags, projects, paths. Nothing is ever asked.
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { printable, rawFromString } from '../base/raw-text.ts'
import type { Config } from '../app/config.ts'
import type { Logbook } from '../app/open.ts'
import { requireWorkingFolder } from '../app/working-folder.ts'
import type { Command, Completion, Option } from './command.ts'
import { commands, findCommand } from './commands.ts'
import { formatDay, formatTime } from './format.ts'
import { firstOperand, globalOptions } from './global-options.ts'

export interface Suggestion {
  /** What the word becomes. */
  readonly word: string
  readonly about: string
}

export interface CompleteContext {
  readonly config: Config
  readonly signal: AbortSignal
  /** Undefined where it does not open without a question. */
  openLogbook(): Promise<Logbook | undefined>
}

/** A shell shows no more than this anyway. */
const suggestionsMax = 500

/** `words` stand after `vml`; the last one is being typed. */
export async function complete(
  context: CompleteContext,
  words: readonly string[],
): Promise<readonly Suggestion[]> {
  const current = words.at(-1) ?? ''
  const before = words.slice(0, -1)
  const found = await suggest(context, before, current)
  return found.filter(({ word }) => word.startsWith(current)).slice(0, suggestionsMax)
}

async function suggest(
  context: CompleteContext,
  before: readonly string[],
  current: string,
): Promise<readonly Suggestion[]> {
  const previous = before.at(-1)
  if (previous === '--logbook') return await listFiles(context.config, current, 'folder')
  if (previous === '--password-file') return await listFiles(context.config, current, 'file')
  const asked = firstOperand(before)
  if (asked === undefined) {
    if (current.startsWith('-')) return optionWords(globalOptions)
    return commands
      .filter((entry) => !entry.hidden)
      .map(({ name, summary }) => ({ word: name, about: summary }))
  }
  const loaded = await findCommand(asked)?.load()
  if (!loaded) return []
  const after = before.slice(before.indexOf(asked) + 1)
  if (loaded.kind === 'verb') return await suggestFor(context, loaded.command, after, current)
  const verb = firstOperand(after)
  if (verb === undefined)
    return Object.entries(loaded.noun.verbs)
      .filter(([, { hidden }]) => hidden !== true)
      .map(([word, { summary }]) => ({ word, about: summary }))
  const command = await loaded.noun.verbs[verb]?.load()
  return command ? await suggestFor(context, command, after.slice(after.indexOf(verb) + 1), current) : []
}

async function suggestFor(
  context: CompleteContext,
  command: Command,
  after: readonly string[],
  current: string,
): Promise<readonly Suggestion[]> {
  const options = Object.values(command.options)
  const waiting = optionNamed(options, after.at(-1))
  if (waiting && waiting.takes !== 'nothing') return await suggestKind(context, waiting.complete, current)
  if (current.startsWith('-') && !after.includes('--'))
    return optionWords([
      ...options.map(({ flags, description }) => [flags, description] as const),
      ...globalOptions,
    ])
  const operands = after.filter(
    (word, index) =>
      !word.startsWith('-') && (optionNamed(options, after[index - 1])?.takes ?? 'nothing') === 'nothing',
  )
  const last = command.operands.at(-1)
  const wanted = command.operands[operands.length] ?? (last?.many ? last : undefined)
  return wanted ? await suggestKind(context, wanted.complete, current) : []
}

function optionNamed(
  options: readonly Option<unknown>[],
  word: string | undefined,
): Option<unknown> | undefined {
  if (word === undefined || !word.startsWith('-')) return undefined
  return options.find(({ flags }) => flags.split(/[ ,|]+/).includes(word))
}

function optionWords(options: readonly (readonly [string, string])[]): readonly Suggestion[] {
  return options.flatMap(([flags, about]) => {
    const word = /--[a-z-]+/.exec(flags)?.[0]
    return word === undefined ? [] : [{ word, about }]
  })
}

async function suggestKind(
  context: CompleteContext,
  kind: Completion | readonly string[],
  current: string,
): Promise<readonly Suggestion[]> {
  if (typeof kind !== 'string') return kind.map((word) => ({ word, about: '' }))
  switch (kind) {
    case 'none':
      return []
    case 'file':
    case 'folder':
      return await listFiles(context.config, current, kind)
    case 'machine':
      return [...context.config.machines.keys()].sort().map((word) => ({ word, about: 'machine' }))
    case 'entry':
      return current.includes(':/') ? await listEntryPaths(context, current) : await listEntryWords(context)
    default:
      return await listLabels(context, kind)
  }
}

async function entriesOf(context: CompleteContext) {
  const logbook = await context.openLogbook()
  if (!logbook) return []
  const { listEntries } = await import('../engine/entries.ts')
  return await listEntries(logbook, { signal: context.signal })
}

/** Newest first; by number, since `#` begins a comment in a shell. */
async function listEntryWords(context: CompleteContext): Promise<readonly Suggestion[]> {
  const entries = await entriesOf(context)
  const words = entries.toReversed().map((entry) => ({
    word: entry.number === undefined ? entry.id.slice(0, 8) : String(entry.number),
    about: [formatDay(entry.takenAt), formatTime(entry.takenAt), safe(entry.machine), safe(entry.title)].join(
      ' ',
    ),
  }))
  const ids = entries.toReversed().map((entry) => ({ word: entry.id.slice(0, 8), about: safe(entry.title) }))
  const lines = [
    ...new Set(
      entries.flatMap(({ machine, project }) => [machine, ...(project === undefined ? [] : [project])]),
    ),
  ]
  return [
    ...words,
    { word: '@latest', about: 'the last entry' },
    { word: 'now', about: 'the machine as it is' },
    ...lines.filter(isPlain).map((line) => ({ word: `${line}@latest`, about: `the last entry of ${line}` })),
    ...ids,
    ...[...new Set(entries.flatMap((entry) => entry.tags))]
      .filter(isPlain)
      .map((word) => ({ word, about: 'tag' })),
  ]
}

async function listLabels(context: CompleteContext, kind: 'tag' | 'project'): Promise<readonly Suggestion[]> {
  const entries = await entriesOf(context)
  const labels = entries.flatMap((entry) => (kind === 'tag' ? entry.tags : (entry.project ?? [])))
  return [...new Set(labels)]
    .filter(isPlain)
    .sort()
    .map((word) => ({ word, about: kind }))
}

async function listEntryPaths(context: CompleteContext, current: string): Promise<readonly Suggestion[]> {
  const logbook = await context.openLogbook()
  if (!logbook) return []
  const { findEntry, listPath } = await import('../engine/look.ts')
  const folder = current.slice(0, current.lastIndexOf('/') + 1)
  const at = await findEntry(logbook, folder, { signal: context.signal })
  const found: Suggestion[] = []
  for await (const { path, node } of listPath(logbook.repository, at, {
    recursive: false,
    signal: context.signal,
  })) {
    const name = printable(path).slice(printable(path).lastIndexOf('/') + 1)
    found.push({ word: `${folder}${name}${node.type === 'dir' ? '/' : ''}`, about: node.type })
  }
  return found
}

async function listFiles(
  config: Config,
  current: string,
  kind: 'file' | 'folder',
): Promise<readonly Suggestion[]> {
  const typed = current.slice(0, current.lastIndexOf('/') + 1)
  const folder = typed.startsWith('~/')
    ? join(config.home, typed.slice(2))
    : join(typed.startsWith('/') ? '/' : requireWorkingFolder(config), typed)
  const items = await readdir(folder, { withFileTypes: true })
  return items
    .filter(
      (item) => (kind === 'file' || item.isDirectory()) && (!item.name.startsWith('.') || current !== typed),
    )
    .map((item) => ({ word: `${typed}${item.name}${item.isDirectory() ? '/' : ''}`, about: '' }))
    .filter(({ word }) => isPlain(word))
}

/** Names with spaces, quotes or control characters are not offered: three shells quote them in three ways. */
function isPlain(word: string): boolean {
  return /^[\p{L}\p{N}_.,:@%+=/~#-]+$/u.test(word)
}

function safe(text: string): string {
  return printable(rawFromString(text))
}
