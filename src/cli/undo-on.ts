// `vml tx undo --on MACHINE` and `vml tx redo --on MACHINE`: the same as here, on a machine over ssh.
import { openRemoteParts, openRemoteUndo } from '../app/remote-transactions.ts'
import { entryNames } from '../engine/entries.ts'
import { openPackagePins } from '../packages/package-pins.ts'
import { recoverRemote, describeRemoteRecovered } from '../transaction/remote-recover.ts'
import { remoteUndoNeeds } from '../transaction/remote-space.ts'
import { planRemoteUndo, runRemoteUndo } from '../transaction/remote-undo.ts'
import { isNothing } from '../transaction/run-undo.ts'
import { requireSpace } from '../transaction/space-need.ts'
import { textOn } from './command-on.ts'
import type { Context } from './command.ts'
import { openLogbookOn } from './on-option.ts'
import { asNotes } from './output.ts'
import { partialStatus } from './partial-status.ts'
import { stayedNote } from './print-beside.ts'
import { pinnedAmong, printPinned, requireNonePinned } from './pinned-packages.ts'
import { backText, describePlan, doneText, printTogether, printUndoPlan } from './print-transaction.ts'
import { printNeeds } from './print-tried.ts'
import { type TakeBack, typedCommand } from './take-back.ts'

export async function takeBackOn(context: Context, name: string, asked: TakeBack): Promise<number | void> {
  const { out } = context
  const { kind, options } = asked
  context.whenCancelled('nothing was changed')
  const logbook = await openLogbookOn(context, name)
  const parts = await openRemoteParts(context, logbook, name)
  if (!options.dryRun) {
    const recovered = await recoverRemote(parts)
    if (recovered.kind !== 'nothing')
      context.reporter.warn({ warning: describeRemoteRecovered(recovered, name) })
  }
  const { run, listed } = await openRemoteUndo(context, parts, typedCommand(asked))
  const { title, ...chosen } = asked.choose({ listed })
  const plan = await planRemoteUndo(
    { ...run, listed },
    {
      kind,
      ...chosen,
      data: options.data,
      needed: options.withDependents ? 'take along' : options.keepNeeded ? 'keep' : 'refuse',
    },
  )
  const names = entryNames(plan.subject)
  const told = options.dryRun ? out : asNotes(out)
  told.line(`${options.dryRun ? `Would ${kind}` : kind === 'undo' ? 'Undo' : 'Redo'} ${names} on ${name}`)
  printTogether(told, plan)
  printUndoPlan(out, plan, told)
  const pinned = await pinnedAmong(plan, () => openPackagePins(parts.machine.shell, 'dpkg'))
  const needs = options.dryRun && !isNothing(plan) ? await remoteUndoNeeds(parts.machine, plan) : []
  const requireAllowed = () => {
    if (!options.pinned)
      requireNonePinned(pinned, {
        doing: `${kind} ${names} on ${name}`,
        howToUnpin: (held) => `there, apt-mark unhold ${held}`,
      })
    requireSpace(`${kind} it on ${name}`, needs)
  }
  // Where it is done, that is asked for once more, when the machine is its own.
  if (!options.dryRun) requireAllowed()
  printPinned(told, pinned, options.pinned)
  printNeeds(out, needs)
  if (options.dryRun || isNothing(plan)) {
    out.document({ schema: 1, machine: name, dry_run: options.dryRun, ...describePlan(plan) })
    if (isNothing(plan)) out.line('Everything is as it was before already: nothing was changed')
    requireAllowed()
    return
  }
  context.whenCancelled(`the ${kind} may be under way: vml tx recover --on ${name} tells, and mends it`)
  const transaction = await runRemoteUndo({ ...run, title }, plan)
  const { number, document } = transaction
  out.document({
    schema: 1,
    machine: name,
    dry_run: false,
    number,
    ...describePlan(plan),
    validations: document.validations,
  })
  out.line(doneText(plan, transaction))
  out.note(backText(plan, textOn(`vml tx undo ${number}`, name)))
  if (plan.paths.conflicts.length === 0) return
  out.line(stayedNote(plan))
  return partialStatus
}
