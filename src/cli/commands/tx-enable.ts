// `vml tx enable` and `vml tx disable`: whether what apt, dpkg, dnf and rpm do on this machine is recorded.
import { fileURLToPath } from 'node:url'
import {
  bootRescueFiles,
  canRescueAtBoot,
  findsBootRescue,
  installBootRescue,
  removeBootRescue,
  rightBootRescueFiles,
} from '../../app/boot-rescue.ts'
import { planMachineHooks } from '../../app/machine-hooks.ts'
import { requirePackagesOut } from '../../app/packages-kept-out.ts'
import { findsAnything, runSchedule } from '../../app/run-schedule.ts'
import { openTransactionParts } from '../../app/transactions.ts'
import { planWatchTimer } from '../../app/watch-timer.ts'
import { requireRoot, systemLogbook } from '../../app/system-logbook.ts'
import { aptReaders } from '../../packages/apt-readers.ts'
import { policyScript } from '../../stage/policy-rc.ts'
import { openLocalShell } from '../../wire/local-shell.ts'
import { defineCommand, dryRun } from '../command.ts'
import { plural } from '../format.ts'
import { shown } from '../options.ts'

export const enable = defineCommand({
  description:
    'Records what apt and dpkg, or dnf and rpm, do on this machine from now on, with no further action: apt-get, unattended-upgrades and graphical programs, too. Each run becomes a transaction that can be taken back alone. It puts a link into the configuration of apt and of dpkg, or a plugin beside those of dnf and a macro beside those of rpm, and a unit of systemd that mends what a crash cut off when the machine starts; vml tx disable removes every trace of them.',
  operands: [],
  options: { dryRun },
  examples: [
    { line: 'sudo vml tx enable', does: 'record from now on' },
    { line: 'vml tx enable --dry-run', does: 'which files it would write' },
    { line: 'sudo vml tx enable --json', does: 'with a document for programs' },
  ],
  async run(context, { options }) {
    const { out } = context
    const hooks = await ownHooks()
    const atBoot = canRescueAtBoot()
    const paths = [...hooks.paths, ...(atBoot ? bootRescueFiles : [])]
    const right = new Set([...(await hooks.right()), ...(atBoot ? rightBootRescueFiles() : [])])
    const wrong = paths.filter((path) => !right.has(path))
    if (!options.dryRun) {
      requireRoot('put hooks of package managers in place')
      await using _locks = await requirePackagesOut(context, lockWaitMs)
      const logbook = await context.openSystemLogbook({ make: true })
      // Changes by hand are told by comparison with what is there now.
      await openTransactionParts(context, logbook).beforeChange?.()
      await hooks.install()
      if (atBoot) await installBootRescue(context.signal)
      for (const { name, pid } of aptReaders())
        context.reporter.warn({
          warning: `${shown(name)} (process ${pid}) has read apt's configuration already: until it is started anew, what it does is recorded, but a transaction for each call of dpkg`,
        })
    }
    out.document({
      schema: 1,
      dry_run: options.dryRun,
      files: paths,
      written: wrong,
      unseen: hooks.unseen,
      logbook: systemLogbook,
    })
    for (const path of wrong) out.line(`${options.dryRun ? 'Would write' : 'Wrote'} ${path}`)
    if (right.size > 0) out.line(`Already there: ${plural(right.size, 'file')}`)
    for (const sentence of hooks.unseen) context.reporter.warn({ warning: `Not seen: ${sentence}` })
    out.note(
      options.dryRun
        ? 'Nothing was changed'
        : `Recorded in ${systemLogbook}, which only root can read. See vml tx list; vml tx disable ends it`,
    )
  },
})

export const disable = defineCommand({
  description:
    'Ends the recording of what apt, dpkg, dnf and rpm do, and removes every trace of the hooks, with the unit that mends what a crash cut off, and the timer of vml tx watch. What was recorded stays, and can be taken back.',
  operands: [],
  options: { dryRun },
  examples: [
    { line: 'sudo vml tx disable', does: 'record no more' },
    { line: 'vml tx disable --dry-run', does: 'whether there is anything to remove' },
    { line: 'sudo vml tx disable --json', does: 'with a document for programs' },
  ],
  async run(context, { options }) {
    const { out } = context
    const hooks = await ownHooks()
    const found = await hooks.find()
    const timer = planWatchTimer()
    const [hasTimer, hasUnit] = [findsAnything(timer.uninstall), findsBootRescue()]
    const isNothing = found === 'none' && !hasTimer && !hasUnit
    if (options.dryRun || isNothing) {
      out.document({ schema: 1, dry_run: options.dryRun, found, watch_timer: hasTimer, boot_unit: hasUnit })
      out.note(
        isNothing
          ? 'No hooks are in place: nothing was changed'
          : `Would remove ${listed(removable(found, { hasTimer, hasUnit }))}; nothing was changed`,
      )
      return
    }
    requireRoot('remove hooks of package managers')
    await using _locks = await requirePackagesOut(context, lockWaitMs)
    if (hasTimer) await runSchedule(timer.uninstall, context.signal)
    const unitFiles = await removeBootRescue(context.signal)
    const { left } = await hooks.remove()
    out.document({
      schema: 1,
      dry_run: false,
      found,
      left,
      watch_timer: hasTimer,
      boot_unit: unitFiles.length > 0,
    })
    for (const path of left) context.reporter.warn({ warning: `Not removed, since it is not VML's: ${path}` })
    out.note(
      `Removed ${listed(removable(found, { hasTimer, hasUnit }))}. What was recorded stays: vml tx list`,
    )
  },
})

function removable(
  found: 'all' | 'part' | 'none',
  { hasTimer, hasUnit }: { readonly hasTimer: boolean; readonly hasUnit: boolean },
): readonly string[] {
  return [
    ...(found === 'none' ? [] : ['the hooks']),
    ...(hasTimer ? ['the timer of vml tx watch'] : []),
    ...(hasUnit ? ['the unit that mends what a crash cut off'] : []),
  ]
}

function listed(things: readonly string[]): string {
  return things.join(', ').replace(/, ([^,]*)$/, ' and $1')
}

async function ownHooks() {
  const start = fileURLToPath(new URL('../vml.js', import.meta.url))
  return await planMachineHooks(openLocalShell(), {
    program: [process.execPath, start],
    servicePolicy: policyScript(),
  })
}

/** An upgrade that is under way may take that long; longer is for a person to decide. */
const lockWaitMs = 120_000
