// `vml tx undo --on MACHINE` and `vml tx redo --on MACHINE`: the same as here, on a machine over ssh.
import { openRemoteParts, openRemoteUndo } from '../app/remote-transactions.ts'
import { entryName } from '../engine/entries.ts'
import { openPackagePins } from '../packages/package-pins.ts'
import { recoverRemote, describeRemoteRecovered } from '../transaction/remote-recover.ts'
import { remoteUndoNeeds } from '../transaction/remote-space.ts'
import { planRemoteUndo, runRemoteUndo } from '../transaction/remote-undo.ts'
import { isNothing } from '../transaction/run-undo.ts'
import type { ListedTransaction } from '../transaction/transactions.ts'
import type { UndoRequest } from '../transaction/undo.ts'
import type { Context } from './command.ts'
import { partialStatus } from './partial-status.ts'
import { stayedNote } from './print-beside.ts'
import { pinnedAmong, printPinned } from './pinned-packages.ts'
import { describePlan, printTogether, printUndoPlan, proofText } from './print-transaction.ts'
import { printNeeds } from './print-tried.ts'

export interface TakeBackOn {
  readonly kind: UndoRequest['kind']
  readonly choose: (listed: readonly ListedTransaction[]) => Pick<UndoRequest, 'subject' | 'transactions'>
  readonly options: {
    readonly withDependents: boolean
    readonly keepNeeded: boolean
    readonly data: boolean
    readonly pinned: boolean
    readonly dryRun: boolean
  }
}

export async function takeBackOn(
  context: Context,
  name: string,
  { kind, choose, options }: TakeBackOn,
): Promise<number | void> {
  const { out } = context
  context.whenCancelled('nothing was changed')
  const logbook = await context.openLogbook()
  const parts = await openRemoteParts(context, logbook, name)
  if (!options.dryRun) {
    const recovered = await recoverRemote(parts)
    if (recovered.kind !== 'nothing')
      context.reporter.warn({ warning: describeRemoteRecovered(recovered, name) })
  }
  const { run, listed } = await openRemoteUndo(context, parts, ['vml', 'tx', kind, '--on', name])
  const plan = await planRemoteUndo(
    { ...run, listed },
    {
      kind,
      ...choose(listed),
      data: options.data,
      needed: options.withDependents ? 'take along' : options.keepNeeded ? 'keep' : 'refuse',
    },
  )
  const names = plan.subject.map(entryName).join(', ')
  out.line(`${options.dryRun ? `Would ${kind}` : kind === 'undo' ? 'Undo' : 'Redo'} ${names} on ${name}`)
  printTogether(out, plan)
  printUndoPlan(out, plan, out.verbose)
  const pinned = await pinnedAmong(plan, () => openPackagePins(parts.machine.shell, 'dpkg'), {
    ...options,
    doing: `${kind} ${names} on ${name}`,
    howToUnpin: (held) => `there, apt-mark unhold ${held}`,
  })
  printPinned(out, pinned, options.pinned)
  if (options.dryRun && !isNothing(plan)) printNeeds(out, await remoteUndoNeeds(parts.machine, plan))
  if (options.dryRun || isNothing(plan)) {
    out.document({ schema: 1, machine: name, dry_run: options.dryRun, ...describePlan(plan) })
    if (isNothing(plan)) out.note('Everything is as it was before already: nothing was changed')
    return
  }
  context.whenCancelled(`the undo may be under way: vml tx recover --on ${name} tells, and mends it`)
  const { number, document } = await runRemoteUndo(run, plan)
  out.document({
    schema: 1,
    machine: name,
    dry_run: false,
    number,
    ...describePlan(plan),
    validations: document.validations,
  })
  out.note(`${kind === 'undo' ? 'Undone' : 'Redone'} as #${number}: ${proofText(document.validations)}`)
  out.note(`To ${kind === 'undo' ? 'bring' : 'take'} it back: vml tx undo ${number} --on ${name}`)
  if (plan.paths.conflicts.length === 0) return
  out.note(stayedNote(plan))
  return partialStatus
}
