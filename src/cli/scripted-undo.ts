// `vml tx undo --scripts`: what it asks for, and what it says when it is done.
import { policyScriptOf } from '../app/transactions.ts'
import type { OpenUndo } from '../app/undo-run.ts'
import { VmlError } from '../base/failure.ts'
import { printable } from '../base/raw-text.ts'
import { runScriptedUndo, scriptedCommands, scriptedWork } from '../transaction/scripted-undo.ts'
import type { WantedPackage } from '../packages/package-sources.ts'
import { undoTitle } from '../transaction/run-undo.ts'
import type { UndoPlan } from '../transaction/undo.ts'
import type { Context } from './command.ts'
import { plural } from './format.ts'
import { shown } from './options.ts'
import type { Output } from './output.ts'
import { partialStatus } from './partial-status.ts'
import { packageLines } from './print-transaction.ts'

/** Before anything is asked of a network. */
export function requireScripts(plan: UndoPlan): void {
  const { install, remove } = scriptedWork(plan)
  if (install.length + remove.length === 0)
    throw new VmlError('usage', 'Cannot use --scripts: no package would change', {
      hint: 'Nothing was changed. Without --scripts every file comes back as it was',
    })
  if (plan.systems.some(({ system, transitions }) => system.manager !== 'dpkg' && transitions.length > 0))
    throw new VmlError('unsupported', 'Cannot use --scripts: it is for packages of dpkg', {
      hint: 'Nothing was changed. Without --scripts every file comes back as it was',
    })
  const [transfer] = plan.transfers
  if (transfer)
    throw new VmlError(
      'unsupported',
      `Cannot use --scripts: the state of ${transfer.package} is to be handed over`,
      {
        hint: 'Nothing was changed. Without --scripts its hook does that; --leave-data leaves the data as it is',
      },
    )
}

/** Which paths it leaves otherwise than the exact undo nobody knows before the scripts have run. */
export function printScriptedPlan(out: Output, plan: UndoPlan): void {
  for (const line of packageLines(out, plan.packages)) out.line(`  ${line}`)
  out.line("  by the packages' scripts, in a stage:")
  for (const command of namedCommands(plan)) out.line(`    ${command.map(shown).join(' ')}`)
}

/** With names for the files of old packages. */
function namedCommands(plan: UndoPlan): readonly (readonly string[])[] {
  const work = scriptedWork(plan)
  return scriptedCommands(
    work,
    work.install.map(({ name, architecture, to }) => `${name}_${to}_${architecture}.deb`),
  )
}

/** `--dry-run`: old packages are got, and go again, so that one that cannot be had is told now. */
export async function tryByScripts(
  { out }: Context,
  { oldPackages }: OpenUndo,
  plan: UndoPlan,
): Promise<void> {
  await oldPackages(wantedPackages(plan))
  out.document({
    schema: 1,
    dry_run: true,
    scripts: true,
    packages: plan.packages,
    commands: namedCommands(plan),
  })
}

function wantedPackages(plan: UndoPlan): readonly WantedPackage[] {
  return scriptedWork(plan).install.flatMap(({ name, architecture, to }) =>
    to === undefined ? [] : [{ name, architecture, version: to }],
  )
}

export async function takeBackByScripts(
  context: Context,
  { run, oldPackages }: OpenUndo,
  plan: UndoPlan,
  { data }: { readonly data: boolean },
): Promise<number | undefined> {
  const { out, config } = context
  const files = await oldPackages(wantedPackages(plan))
  context.whenCancelled('nothing was changed, or it is being committed: vml tx list tells')
  const policy = policyScriptOf()
  const { end, differences } = await runScriptedUndo(run, plan, {
    request: {
      source: plan.kind,
      title: run.title ?? undoTitle(plan),
      note: '',
      tags: [],
      command: run.command,
      user: run.user,
      processId: run.processId,
      ...(policy === undefined ? {} : { policy }),
    },
    files,
    data,
    environment: config.environment,
    stdio: out.json ? ['ignore', 2, 2] : ['ignore', 'inherit', 'inherit'],
  })
  if (end.kind === 'nothing') return undefined
  const { number, document } = end.transaction
  out.document({
    schema: 1,
    dry_run: false,
    number,
    validations: document.validations,
    differences: differences.map(({ path, what }) => ({ path: printable(path), what })),
  })
  out.line(`${plan.kind === 'undo' ? 'Undone' : 'Redone'} by scripts as #${number}`)
  out.note(`To ${plan.kind === 'undo' ? 'bring' : 'take'} it back: vml tx undo ${number}`)
  if (differences.length === 0) return undefined
  out.line(`${plural(differences.length, 'path')} not as before:`)
  for (const { path, what } of differences) out.line(`  ${what}  ${printable(path)}`)
  return partialStatus
}
