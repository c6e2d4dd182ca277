// `vml save`: adds an entry, the state of a machine now.
import { findMachine, waysToAdd } from '../../app/config.ts'
import { openMachineAhead } from '../../app/open-machine.ts'
import { digestOfImage, openBase } from '../../app/save-base.ts'
import { VmlError } from '../../base/failure.ts'
import { printableText } from '../../base/raw-text.ts'
import { listEntries, nextEntryNumber } from '../../engine/entries.ts'
import {
  chooseBase,
  type Saved,
  save,
  type SaveParts,
  type SaveRequest,
  surveyMachine,
  type SurveyParts,
} from '../../engine/save.ts'
import type { CaptureMode } from '../../model/entry.ts'
import { shortId } from '../../model/ids.ts'
import type { Machine } from '../../model/machine.ts'
import { type Context, defineCommand, dryRun, flag, type Operand, text, texts } from '../command.ts'
import { formatBytes, formatDuration, plural } from '../format.ts'
import { parseCache, parseMachinePath, parseTag } from '../../app/machine-path.ts'
import { openFolderMemory } from '../../app/folder-memory.ts'
import { warnOfOtherHost } from '../../engine/other-host.ts'
import type { Output } from '../output.ts'
import { describeOtherRoots } from '../other-roots.ts'
import { describeRead } from '../read-counts.ts'
import { printSurvey } from '../print-survey.ts'

const machineOperand: Operand = {
  name: 'MACHINE',
  description:
    'a machine of yours: see vml machine list (default: as ./.vml.toml or VML_MACHINE says, or the only one)',
  required: false,
  complete: 'machine',
}

export const command = defineCommand({
  description:
    'Saves the working environment of a machine: its home, included folders, environment variables, shell history and package list. Nothing is installed on the machine; only what changed is read.',
  operands: [machineOperand],
  options: {
    message: text('-m, --message <title>', 'title of the entry'),
    note: text('--note <text>', 'more about it'),
    project: text('--project <name>', 'the line of work that it belongs to', 'project'),
    tag: texts('--tag <tag>', 'a tag; may be given more than once', 'tag'),
    include: texts(
      '--include <dir>',
      'a folder outside of the home; relative to the current folder, on another machine to its home',
      'none',
    ),
    exclude: texts('--exclude <pattern>', 'leave out what matches, in gitignore syntax'),
    only: texts(
      '--only <dir>',
      'this folder instead of the home, this time; relative as for --include',
      'folder',
    ),
    cache: texts('--cache <name=dir>', 'keep a large cache as a part that restore and share can leave out'),
    full: flag('--full', 'read everything again'),
    differential: flag('--differential', 'read what changed since the last full entry'),
    dryRun,
  },
  examples: [
    { line: 'vml save lab -m "fit v1"', does: 'the home of lab and what belongs to it' },
    {
      line: "vml save lab -m 'with data' --include /data/cfg --exclude '*.root'",
      does: 'one more folder, without some files',
    },
    { line: 'vml save here --only ~/thesis --tag submitted', does: 'one folder of this host' },
  ],
  async run(context, { operands: [name], options }) {
    const mode = modeOf(options.full, options.differential)
    const tags = options.tag.map(parseTag)
    const project = options.project ?? context.config.project?.value
    const machine = chooseMachine(context, name)
    context.reachAhead(machine)
    const logbook = await context.openLogbook()
    await using opening = openMachineAhead(context, machine)
    const entries = await listEntries(logbook, context)
    const baseOf = async (wanted: CaptureMode) =>
      await openBase(context, logbook.repository, chooseBase(entries, machine.name, wanted))
    const base = await baseOf(mode)
    const open = await opening.opened
    const folder = context.config.workingFolder
    const request: SaveRequest = {
      title: options.message ?? '',
      note: options.note ?? '',
      ...(project === undefined ? {} : { project }),
      tags,
      mode,
      include: options.include.map((typed) => parseMachinePath(typed, open, folder)),
      exclude: options.exclude,
      only: options.only.map((typed) => parseMachinePath(typed, open, folder)),
      caches: options.cache.map((typed) => parseCache(typed, open, folder)),
    }
    const last = mode === 'incremental' ? base : await baseOf('incremental')
    warnOfOtherHost(last, open, context.reporter)
    const other = last && (await describeOtherRoots(open, request, last, context.signal))
    if (other !== undefined) context.out.note(`  ${other}`)
    const surveyed: SurveyParts = {
      open,
      repository: logbook.repository,
      base,
      reporter: context.reporter,
      signal: context.signal,
    }
    if (options.dryRun) {
      // With --json the answer is one document, as of a query.
      const reporter = context.out.json ? { ...context.reporter, progress: () => {} } : context.reporter
      printSurvey(context.out, await surveyMachine({ ...surveyed, reporter }, request), machine.name)
      return 0
    }
    const parts: SaveParts = {
      ...surveyed,
      imageSha256: await digestOfImage(context, machine, base),
      folderMemory: openFolderMemory(context.config, logbook.repository.id, machine.name),
      nextNumber: () => nextEntryNumber(logbook, context),
      clock: context.clock,
    }
    const saved = await save(parts, request)
    const { protectPacks } = await import('../../app/protect.ts')
    await protectPacks(logbook.repository, context)
    printSaved(context.out, saved)
    return saved.document.outcome === 'partial' ? 3 : 0
  },
})

/** The machine that was named, or that the configuration leaves no doubt about; a person is told which. */
function chooseMachine({ config, out }: Context, name: string | undefined): Machine {
  if (name !== undefined) return findMachine(config, name)
  const [only, ...others] = config.machines.keys()
  const chosen =
    config.machine ??
    (only !== undefined && others.length === 0 ? { value: only, from: 'the only machine' } : undefined)
  if (!chosen)
    throw new VmlError('usage', 'Cannot tell which machine to save', {
      hint:
        only === undefined
          ? `Add one: ${waysToAdd()}`
          : `Name one: ${[only, ...others].toSorted().join(', ')}`,
    })
  const machine = findMachine(config, chosen.value)
  out.note(`  machine ${machine.name} (${chosen.from})`)
  return machine
}

function modeOf(full: boolean, differential: boolean): CaptureMode {
  if (full && differential) {
    throw new VmlError('usage', 'Cannot save full and differential at once', { hint: 'Give one of them' })
  }
  return full ? 'full' : differential ? 'differential' : 'incremental'
}

function printSaved(out: Output, { snapshot, document, stored, durationMs }: Saved): void {
  const { statistics, problems, excluded } = document
  for (const { problem, path, message } of problems.slice(0, problemsShownMax)) {
    out.note(`  ${problem}: ${path}${message === undefined ? '' : `: ${printableText(message)}`}`)
  }
  if (problems.length > problemsShownMax)
    out.note(`  … and ${problems.length - problemsShownMax} more: vml show ${document.number}`)
  const mode = document.modeReason === undefined ? document.mode : `${document.mode}, ${document.modeReason}`
  out.note(
    `  ${mode}: ${describeRead(statistics)} (${formatBytes(statistics.bytesRead)} of ${formatBytes(statistics.bytes)}), stored ${formatBytes(stored.storedBytes)}`,
  )
  if (excluded.length > 0)
    out.note(`  left out ${plural(excluded.length, 'path')} by rules: vml show ${document.number}`)
  for (const note of document.fidelity.notes) out.note(`  ${note}`)
  out.line(`#${document.number}  ${shortId(snapshot.id)}`)
  const partial = document.outcome === 'partial'
  out.summary(
    `Saved entry #${document.number} in ${formatDuration(durationMs)}${partial ? ', in part: some paths could not be read' : ''}`,
    {
      schema: 1,
      number: document.number,
      id: snapshot.id,
      machine: document.machine,
      mode: document.mode,
      mode_reason: document.modeReason,
      outcome: document.outcome,
      statistics,
      stored,
      problems,
      excluded: excluded.length,
      duration_ms: durationMs,
    },
  )
}

/** More of them are in the entry; a screen is for the first. */
const problemsShownMax = 10
