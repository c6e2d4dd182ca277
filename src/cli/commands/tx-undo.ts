// `vml tx undo` and `vml tx redo`: takes exactly one transaction back, or brings it back, and keeps all later work.
import type { Logbook } from '../../app/open.ts'
import { openTransactionParts } from '../../app/transactions.ts'
import { type OpenUndo, openUndoRun } from '../../app/undo-run.ts'
import { packagePinsHere } from '../../app/package-questions.ts'
import { requireRecording, requireWritable } from '../../app/system-logbook.ts'
import { isFailure, VmlError } from '../../base/failure.ts'
import { firstFew } from '../../base/first-few.ts'
import { printable } from '../../base/raw-text.ts'
import { entryName, entryNames } from '../../engine/entries.ts'
import type { TransactionParts } from '../../transaction/end-stage.ts'
import { isNothing, runUndo, undoToBeforeTitle } from '../../transaction/run-undo.ts'
import { requireSpace, spaceFailure, undoNeeds } from '../../transaction/space-need.ts'
import { requireNoneStranded } from '../../transaction/stranded-data.ts'
import {
  findTransaction,
  type FindAmong,
  requireAlone,
  requireNotUndone,
} from '../../transaction/transactions.ts'
import { planUndo, type UndoParts, type UndoPlan, type UndoRequest } from '../../transaction/undo.ts'
import { keepPackagesOut } from '../../app/packages-kept-out.ts'
import { fromThen, listUndoChoices } from '../../transaction/undo-choices.ts'
import { type Context, defineCommand, flag, text } from '../command.ts'
import { workOn } from '../command-on.ts'
import { stayedNote } from '../print-beside.ts'
import { describeChoices, printChoices, refusalWith } from '../print-choices.ts'
import { plural } from '../format.ts'
import { printNeeds } from '../print-tried.ts'
import { onOption, requireNoneOf } from '../on-option.ts'
import { asNotes, type Output } from '../output.ts'
import { partialStatus } from '../partial-status.ts'
import { pinnedAmong, printPinned, requireNonePinned } from '../pinned-packages.ts'
import { backText, describePlan, doneText, printTogether, printUndoPlan } from '../print-transaction.ts'
import { tellLeftBehind } from '../left-behind.ts'
import { recoverFirst } from '../recover-first.ts'
import { type TakeBack, type TakeBackOptions, typedCommand } from '../take-back.ts'
import { endOverdueProbations } from '../probation.ts'
import { transactionOperand } from './tx-show.ts'

const needed = {
  on: onOption,
  withDependents: flag('--with-dependents', 'take back, too, what later transactions brought that needs it'),
  keepNeeded: flag('--keep-needed', 'leave packages that later transactions need, or changed again'),
  pinned: flag('--pinned', 'change packages that are pinned, too'),
  data: flag('--data', 'put back data of services, too, though it was changed since'),
  leaveData: flag('--leave-data', 'leave data of services as it is, whatever its form: run no hook on it'),
  scripts: flag('--scripts', "run the packages' own scripts, with the old packages, where they can be had"),
}

const planOnly = flag('-n, --dry-run', 'say what would be done, and do nothing; with -v, of each path')

export const undo = defineCommand({
  description:
    'Takes a transaction back, or several in one step: packages, configuration, every file that they touched, and nothing else. What was changed since stays: it is merged, or left alone and said so. An undo is a transaction itself and can be taken back: vml tx redo.',
  operands: [
    { ...transactionOperand, description: 'transactions, by their numbers', required: false, many: true },
  ],
  options: {
    ...needed,
    toBefore: text('--to-before <id>', 'this one and every later one, undos and redos among them'),
    dryRun: planOnly,
  },
  examples: [
    { line: 'vml tx undo 7 --dry-run', does: 'what would be done' },
    { line: 'vml tx undo 7 --dry-run -v', does: 'with each path: M changed, − deleted, + created' },
    { line: 'vml tx undo 7', does: 'take back the transaction #7' },
    { line: 'vml tx undo 7 8 9', does: 'three of them in one step' },
    { line: 'vml tx undo 7 --with-dependents', does: 'and the later ones that need what it brought' },
    { line: 'vml tx undo 7 --scripts', does: "by the old packages and all packages' own scripts" },
    { line: 'vml tx undo 7 --on lab', does: 'one that was made on the machine lab, over ssh' },
    { line: 'vml tx undo --to-before 7', does: '#7 and everything after it' },
  ],
  async run(context, { operands, options }) {
    return await workOn(context, options.on, async (named) => await runUndoCommand(named, operands, options))
  },
})

async function runUndoCommand(
  context: Context,
  operands: readonly string[],
  options: TakeBackOptions,
): Promise<number | void> {
  const { toBefore } = options
  if (operands.length > 0 && toBefore !== undefined)
    throw new VmlError('usage', 'Cannot take transactions and --to-before at once', {
      hint: `Give one of them: --to-before ${toBefore} takes along all that came after it`,
    })
  if (operands.length === 0 && toBefore === undefined)
    throw new VmlError('usage', 'Cannot tell which transaction to take back', {
      hint: 'Name one: vml tx undo 7, or vml tx undo --to-before 7; vml tx list shows them',
    })
  const choose = (among: FindAmong) => {
    const { listed } = among
    if (toBefore !== undefined) {
      const first = findTransaction(among, toBefore)
      const chosen = fromThen(listed, first)
      return {
        subject: chosen.map(({ entry }) => entry),
        transactions: chosen,
        title: undoToBeforeTitle(first.entry),
      }
    }
    const chosen = [...new Set(operands.map((typed) => findTransaction(among, typed)))]
    for (const one of chosen) requireNotUndone(one, listed)
    return { subject: chosen.map(({ entry }) => entry), transactions: chosen }
  }
  return await takeBack(context, { kind: 'undo', typed: operands, choose, options })
}

export const redo = defineCommand({
  description:
    'Brings back a transaction that was taken back: the undo of its undo. One that was taken back together with others comes back with them alone: vml tx undo N, of the undo that took them back.',
  operands: [transactionOperand],
  options: { ...needed, dryRun: planOnly },
  examples: [
    { line: 'vml tx redo 7', does: 'bring back the transaction #7, which was undone' },
    { line: 'vml tx redo 7 --dry-run', does: 'what would be done' },
    { line: 'vml tx redo 7 --json', does: 'with a document for programs' },
  ],
  async run(context, { operands: [typed = ''], options }) {
    const choose = (among: FindAmong) => {
      const { listed } = among
      const one = findTransaction(among, typed)
      const by = listed.find(({ entry }) => entry === one.undoneBy)
      requireAlone(one, listed)
      if (by) return { subject: [one.entry], transactions: [by] }
      throw new VmlError('conflict', `Cannot bring back ${entryName(one.entry)}: it was not taken back`, {
        hint: 'Nothing was changed. vml tx list shows what was',
      })
    }
    return await workOn(
      context,
      options.on,
      async (named) => await takeBack(named, { kind: 'redo', typed: [typed], choose, options }),
    )
  },
})

async function takeBack(context: Context, asked: TakeBack): Promise<number | void> {
  const { kind, options } = asked
  if (options.withDependents && options.keepNeeded)
    throw new VmlError('usage', 'Cannot take --with-dependents and --keep-needed at once', {
      hint: 'Give one of them',
    })
  if (options.data && options.leaveData)
    throw new VmlError('usage', 'Cannot take --data and --leave-data at once', {
      hint: 'Nothing was changed. --data puts back data that was changed since, too; --leave-data leaves all of it as it is',
    })
  if (!options.dryRun) requireRecording(context.config, `${kind} a transaction`)
  if (options.on !== undefined) {
    requireNoneOf({ '--scripts': options.scripts })
    const { takeBackOn } = await import('../undo-on.ts')
    return await takeBackOn(context, options.on, asked)
  }
  const { out } = context
  context.whenCancelled('nothing was changed')
  if (!options.dryRun) requireWritable(`${kind} a transaction`)
  const logbook = await context.openSystemLogbook()
  const parts = openTransactionParts(context, logbook)
  if (options.dryRun) await tellLeftBehind(context)
  else {
    await endOverdueProbations(context, logbook, parts)
    await recoverFirst(context, parts)
  }
  await using owned = new AsyncDisposableStack()
  if (!options.dryRun) owned.use(await keepPackagesOut(context))
  const choosePlan = async () => owned.use(await planTakeBack(context, logbook, asked))
  let planned = await choosePlan()
  // What was changed by hand until now becomes a transaction of its own, which the plan then knows of. Where it is refused, nothing is recorded.
  if (!options.dryRun && !isNothing(planned.plan) && (await parts.beforeChange?.()))
    planned = await choosePlan()
  const { opened, undoParts, request, plan, pinned, words, requireAllowed } = planned
  const { run } = opened
  const names = entryNames(plan.subject)
  const scripted = options.scripts ? await import('../scripted-undo.ts') : undefined
  const told = options.dryRun ? out : asNotes(out)
  const byHand = options.dryRun && options.toBefore !== undefined ? await pathsChangedByHand(parts) : []
  told.line(`${options.dryRun ? `Would ${kind}` : kind === 'undo' ? 'Undo' : 'Redo'} ${names}`)
  printTogether(told, plan)
  const [only, ...others] = plan.transactions
  if (only?.document.inPart && (kind === 'redo' || others.length === 0))
    told.line(`  ${entryName(only.entry)} had left a part of it: that part stays as it is now`)
  if (scripted) scripted.printScriptedPlan(told, plan)
  else {
    printUndoPlan(out, plan, told)
    printNeeds(told, undoNeeds(run, plan))
    if (options.dryRun) printUnasked(told, opened.unasked())
    if (byHand.length > 0) printByHand(told, byHand)
  }
  printPinned(told, pinned, options.pinned)
  if (scripted && options.dryRun) {
    await scripted.tryByScripts(context, opened, plan)
    requireAllowed()
    return
  }
  if (options.dryRun || isNothing(plan)) {
    const choices = options.dryRun ? await listUndoChoices(undoParts, request, plan) : []
    const given = pinned.length > 0 ? [...words, '--pinned'] : words
    printChoices(out, choices, given)
    const described = describeChoices(choices, given)
    const by_hand = byHand.length > 0 ? { by_hand: byHand } : {}
    out.document({ schema: 1, dry_run: options.dryRun, ...describePlan(plan), ...by_hand, plans: described })
    if (isNothing(plan)) out.line('Everything is as it was before already: nothing was changed')
    requireAllowed()
    return
  }
  if (scripted) return await scripted.takeBackByScripts(context, opened, plan, { data: options.data })
  context.whenCancelled(
    `the ${kind} may be under way: vml tx list tells whether it was made, vml tx recover mends it`,
  )
  const end = await runUndo(run, plan)
  if (end.kind === 'nothing') return
  const { number, document } = end.transaction
  out.document({
    schema: 1,
    dry_run: false,
    number,
    ...describePlan(plan),
    validations: document.validations,
  })
  out.line(doneText(plan, end.transaction))
  out.note(backText(plan, `vml tx undo ${number}`))
  if (plan.paths.conflicts.length === 0) return
  out.line(stayedNote(plan))
  return partialStatus
}

async function pathsChangedByHand(parts: TransactionParts): Promise<string[]> {
  const { findHandChanges } = await import('../../transaction/hand-changes.ts')
  return (await findHandChanges(parts)).map(({ path }) => printable(path))
}

/** They become a transaction of their own first, and the newest of those that go. */
function printByHand(told: Output, paths: readonly string[]): void {
  const named = firstFew(paths, byHandNamed, String)
  told.line(`  changed by hand since, would be recorded first, and go, too: ${named}`)
}

const byHandNamed = 10

function printUnasked(told: Output, packages: readonly string[]): void {
  if (packages.length > 0)
    told.line(
      `  not asked: whether a snapshot service still has ${plural(packages.length, 'package')}; vml tx check --snapshots asks`,
    )
}

interface PlannedTakeBack extends AsyncDisposable {
  readonly opened: OpenUndo
  readonly undoParts: UndoParts
  readonly request: UndoRequest
  readonly plan: UndoPlan
  readonly pinned: readonly string[]
  /** Options that every way to do it is to be given. */
  readonly words: readonly string[]
  /** Fails where what was planned is refused all the same: a dry run tells the plan before that. */
  requireAllowed(): void
}

/** Reads only, and fails with all that is known to be in the way; of a dry run `requireAllowed` does. */
async function planTakeBack(context: Context, logbook: Logbook, asked: TakeBack): Promise<PlannedTakeBack> {
  const { kind, options } = asked
  await using owned = new AsyncDisposableStack()
  const undo = owned.use(await openUndoRun(context, logbook, typedCommand(asked)))
  const { listed } = undo
  const { title, ...chosen } = asked.choose(undo)
  const run = { ...undo.run, title }
  const opened = { ...undo, run }
  const stateHooks = options.leaveData ? [] : opened.stateHooks()
  const undoParts = { place: run, logbook, listed, contents: run.contents, stateHooks }
  const request: UndoRequest = {
    kind,
    ...chosen,
    data: options.data,
    needed: options.withDependents ? 'take along' : options.keepNeeded ? 'keep' : 'refuse',
    scripts: options.scripts,
  }
  const words = [...(options.data ? ['--data'] : []), ...(options.leaveData ? ['--leave-data'] : [])]
  const plan = await planUndo(undoParts, request).catch(async (error: unknown) => {
    throw isFailure(error, 'conflict')
      ? refusalWith(error, await listUndoChoices(undoParts, request), words)
      : // The package system judges files of ours in a folder there.
        spaceFailure(error, { what: `plan the ${kind}`, folder: run.state })
  })
  if (options.scripts) (await import('../scripted-undo.ts')).requireScripts(plan)
  const doing = `${kind} ${entryNames(plan.subject)}`
  const pinned = await pinnedAmong(plan, packagePinsHere)
  const requireAllowed = () => {
    if (!options.pinned) requireNonePinned(pinned, { doing, howToUnpin: (names) => `vml tx unpin ${names}` })
    requireNoneStranded(doing, plan.stranded)
    if (!options.scripts && !isNothing(plan)) requireSpace(`${kind} it`, undoNeeds(run, plan))
  }
  if (!options.dryRun) requireAllowed()
  const kept = owned.move()
  return {
    ...{ opened, undoParts, request, plan, pinned, words, requireAllowed },
    [Symbol.asyncDispose]: async () => await kept.disposeAsync(),
  }
}
