// What a transaction changes, or an undo would, in words a person understands.
import { firstFew } from '../base/first-few.ts'
import { printable } from '../base/raw-text.ts'
import { describeMixedData } from '../transaction/mixed-data.ts'
import { describeOwnFiles } from '../transaction/further-names.ts'
import { describeValidation, notPassed } from '../transaction/stage-checks.ts'
import { isBesideAlone } from '../transaction/beside-files.ts'
import type { StoredTransaction } from '../transaction/transaction-entry.ts'
import type { UndoPlan } from '../transaction/undo.ts'
import type { PackageTransition, Validation } from '../model/transaction-record.ts'
import { countChanges, type PathChange } from '../model/transaction.ts'
import { entryNames } from '../engine/entries.ts'
import { textOn } from './command-on.ts'
import { formatBytes, plural } from './format.ts'
import { shown } from './options.ts'
import type { Output } from './output.ts'
import { besideText } from './print-beside.ts'
import { table } from './style.ts'

const pathsShown = 20

export function packageLines(out: Output, packages: readonly PackageTransition[]): string[] {
  const { style } = out
  return table(
    packages.map(({ name, architecture, fate, from, to }) => [
      fate === 'installed'
        ? style.green('+')
        : fate === 'removed' || fate === 'purged'
          ? style.red('−')
          : style.yellow('~'),
      `${shown(name)}:${shown(architecture)}`,
      [from, to]
        .filter((version) => version !== undefined)
        .map(shown)
        .join(' → '),
      fate === 'installed' || fate === 'removed' ? '' : fate,
    ]),
  )
}

export function countsText(changes: readonly PathChange[]): string {
  const { created, changed, deleted } = countChanges(changes)
  return [
    created > 0 ? `${plural(created, 'path')} created` : '',
    changed > 0 ? `${plural(changed, 'path')} changed` : '',
    deleted > 0 ? `${plural(deleted, 'path')} deleted` : '',
  ]
    .filter((part) => part !== '')
    .join(', ')
}

const actionsDone = { start: 'started', stop: 'stopped', restart: 'restarted', reload: 'read anew' } as const

/** `machine`: that it was made on, over ssh. `say`: where standard output is the command's, the result stands beside it. */
export function printRecorded(
  out: Output,
  { number, document }: StoredTransaction,
  { machine, say }: { readonly machine?: string; readonly say: 'line' | 'aside' },
): void {
  const { created, changed, deleted } = document.counts
  out[say](
    `#${number}: ${created} created, ${changed} changed, ${deleted} deleted; ${formatBytes(document.storedBytes)} kept. To take it back: ${textOn(`vml tx undo ${number}`, machine)}`,
  )
  const seenTo = document.services.filter(({ outcome }) => outcome === 'done')
  if (seenTo.length > 0)
    out.note(
      `Services: ${seenTo.map(({ unit, action }) => `${shown(unit)} ${actionsDone[action]}`).join(', ')}`,
    )
  if (document.mode === 'live' && document.source !== 'hand')
    for (const bad of notPassed(document.validations)) out.note(`Live: ${describeValidation(bad)}`)
  if (!document.complete)
    out[say](
      `Incomplete: ${plural(document.gaps.length, 'pre-image')} could not be kept; ${textOn(`vml tx show ${number}`, machine)} names them`,
    )
}

/** Of a command that was recorded, here or elsewhere. */
export function describeRecorded({ number, document }: StoredTransaction, exitStatus: number) {
  const { counts, packages, complete, validations } = document
  return { outcome: 'recorded', exit_status: exitStatus, number, counts, packages, complete, validations }
}

/** With --keep-failed. */
export function printKeptAllTheSame(out: Output, exitStatus: number): void {
  if (exitStatus !== 0) out.note(`The command ended with status ${exitStatus}: kept all the same`)
}

/** Of these no stage holds what is written, and no record what was: whether the command did so is not known. */
const heldByNoStage = '/tmp, /var/tmp, /run or /var/log'

/** Of a command of which there is nothing to record: that is all that is known of it. */
export function printNothing(out: Output, exitStatus: number): void {
  const ended = exitStatus === 0 ? '' : `The command ended with status ${exitStatus}. `
  out.note(
    `${ended}Nothing that is recorded was changed (what is done in ${heldByNoStage}, or asked of the running system, is done at once): no transaction was made`,
  )
}

/** As shells and env(1), chroot(1) have it. */
const notFoundStatus = 127

export function printNotKept(out: Output, exitStatus: number): void {
  out.aside(
    `The command ended with status ${exitStatus}: nothing of it was kept, but for what it wrote in ${heldByNoStage}. To keep it all the same: --keep-failed`,
  )
  printNotFound(out, exitStatus, 'run')
}

export function printNotFound(out: Output, exitStatus: number, verb: 'run' | 'try'): void {
  if (exitStatus === notFoundStatus)
    out.note(`A command was not found. A line for a shell is typed so: vml tx ${verb} -- sh -c "LINE"`)
}

/** Of a redo. */
export function printTogether(out: Output, { together }: Pick<UndoPlan, 'together'>): void {
  if (together.length > 0) out.line(`  with ${entryNames(together)}, taken back together with it`)
}

/** What stays as it is is a result; the rest, which `told` gets, only where nothing is done but told. */
export function printUndoPlan(out: Output, plan: UndoPlan, told: Output): void {
  const { paths, packages, keptPackages, regenerations } = plan
  for (const line of packageLines(told, packages)) told.line(`  ${line}`)
  const merged = paths.paths.filter(({ how }) => how === 'merged')
  const changes = paths.paths.map(({ path, now, wanted }) => ({
    path,
    ...(now ? { before: now } : {}),
    ...(wanted ? { after: wanted } : {}),
  }))
  told.line(`  ${countsText(changes) || 'no path changes'}, ${formatBytes(plan.bytes)} to write`)
  if (merged.length > 0)
    told.line(
      `  ${plural(merged.length, 'path')} changed since and merged: ${someOf(merged.map(({ path }) => printable(path)))}`,
    )
  for (const { path, reason } of paths.conflicts)
    out.line(`  ${out.style.red('stays')}  ${printable(path)}: ${reason}${besideText(plan, path)}`)
  const kept = paths.kept.filter(({ why }) => why !== 'transferred by a hook')
  for (const [why, some] of Map.groupBy(kept, ({ why: each }) => each))
    out.line(
      `  ${plural(some.length, 'path')} kept, ${why}: ${someOf(some.map(({ path }) => printable(path)))}`,
    )
  if (plan.ownFiles.length > 0) out.line(`  ${describeOwnFiles(plan.ownFiles)}`)
  for (const mixed of plan.mixed) out.line(`  ${describeMixedData(mixed)}`)
  const gone = plan.transactions.flatMap(({ document }) => document.notKept ?? [])
  if (gone.length > 0)
    out.line(
      `  ${plural(gone.length, 'path')} not kept then, and as now: ${someOf(gone.map(({ path }) => printable(path)))}`,
    )
  const [again, needed] = [
    plan.changedAgain,
    keptPackages.filter((name) => !plan.changedAgain.includes(name)),
  ]
  if (needed.length > 0) out.line(`  still needed, stays: ${needed.map(shown).join(', ')}`)
  if (again.length > 0) out.line(`  changed again since, stays: ${again.map(shown).join(', ')}`)
  if (regenerations.length > 0) told.line(`  made anew: ${madeAnew(plan).join(', ')}`)
  for (const { package: name, from, to, bytes } of plan.transfers)
    told.line(
      `  state of ${shown(name)}: exported with ${shown(from)}, imported with ${shown(to)}; ${formatBytes(bytes)} of data`,
    )
  for (const { package: name, others, data, bytes } of plan.stranded)
    out.line(
      `  data of ${shown(name)} stays in ${data.map(printable).join(', ')}, ${formatBytes(bytes)}: ${others.map(shown).join(', ')} does not read it`,
    )
  for (const { kind, name, number, of, paths: some } of plan.foreign) {
    const named = someOf(some.map((path) => printable(path)))
    out.line(
      of === undefined
        ? `  ${kind} ${shown(name)} (${number}) goes, and whoever gets the number next has what stays: ${named}`
        : `  number ${number} of ${kind} ${shown(name)} is that of ${shown(of)} by now, who has what comes back with it: ${named}`,
    )
  }
  if (plan.units.length > 0)
    told.line(`  services stopped for it, where they run: ${plan.units.map(shown).join(', ')}`)
  if (!out.verbose) return
  for (const { path, now, wanted } of paths.paths)
    told.line(`  ${now === undefined ? '+' : wanted === undefined ? '−' : 'M'} ${printable(path)}`)
}

function madeAnew({ regenerations }: UndoPlan): string[] {
  return [...new Set(regenerations.map(({ rule }) => rule))]
}

/** What an undo or redo did, and what was found after it, in a line. */
export function doneText(plan: UndoPlan, { number, document }: StoredTransaction): string {
  const [done, back] = plan.kind === 'undo' ? ['Undone', 'taken'] : ['Redone', 'brought']
  return isBesideAlone(plan)
    ? `Nothing of it was ${back} back: #${number} put ${plural(plan.beside.length, 'file')} beside`
    : `${done} as #${number}: ${proofText(document.validations)}`
}

/** What the undo of it, `command`, would be for. */
export function backText(plan: UndoPlan, command: string): string {
  if (isBesideAlone(plan)) return `To have these away: ${command}`
  return `To ${plan.kind === 'undo' ? 'bring' : 'take'} it back: ${command}`
}

/** What was found after an undo, in a line. */
function proofText(validations: readonly Validation[]): string {
  return validations
    .map(({ name, outcome, message }) =>
      outcome === 'passed'
        ? `${name} ok${message === undefined ? '' : `, ${message}`}`
        : `${name}: ${message ?? outcome}`,
    )
    .join('; ')
}

function someOf(names: readonly string[]): string {
  return firstFew(names, pathsShown, String)
}

export function describePlan(plan: UndoPlan) {
  return {
    transactions: plan.transactions.map(({ entry }) => entry.number ?? null),
    packages: plan.packages,
    kept_packages: plan.keptPackages,
    paths: plan.paths.paths.map(({ path, now, wanted, how }) => ({
      path: printable(path),
      change: now === undefined ? 'created' : wanted === undefined ? 'deleted' : 'changed',
      how,
    })),
    conflicts: plan.paths.conflicts.map(({ path, reason }) => ({
      path: printable(path),
      reason,
      beside: plan.beside.filter(({ of }) => of === path).map(({ path: at }) => printable(at)),
    })),
    kept: plan.paths.kept.map(({ path, why }) => ({ path: printable(path), why })),
    not_kept: plan.transactions.flatMap(({ document }) =>
      (document.notKept ?? []).map(({ path, reason }) => ({ path: printable(path), reason })),
    ),
    own_files: plan.ownFiles.map(({ path, otherNames }) => ({
      path: printable(path),
      other_names: otherNames.map(printable),
    })),
    mixed_data: plan.mixed.map(({ folder, takenBack, written, isWhole }) => ({
      folder: printable(folder),
      taken_back: takenBack.map(printable),
      written: written.map(printable),
      whole: isWhole,
    })),
    made_anew: madeAnew(plan),
    foreign_numbers: plan.foreign.map(({ kind, name, number, of, paths }) => ({
      ...{ kind, name, number },
      ...(of === undefined ? {} : { of }),
      paths: paths.map((path) => printable(path)),
    })),
    transfers: plan.transfers.map(({ hook, package: name, from, to, data, bytes }) => ({
      hook: hook.name,
      package: name,
      from,
      to,
      data: data.map(printable),
      bytes,
    })),
    stranded: plan.stranded.map(({ package: name, others, data, bytes }) => ({
      package: name,
      others,
      data: data.map(printable),
      bytes,
    })),
    bytes: plan.bytes,
  }
}
