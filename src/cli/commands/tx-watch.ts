// `vml tx watch`: records what is changed by hand, and tells of which paths.
import { lstatSync } from 'node:fs'
import { requireRoot } from '../../app/system-logbook.ts'
import { openTransactionParts } from '../../app/transactions.ts'
import { VmlError } from '../../base/failure.ts'
import { printable, rawFromString, rawToBytes } from '../../base/raw-text.ts'
import { parseRawPath, type RawPath, rootPath } from '../../model/raw-path.ts'
import type { WatchRound, WatchTier } from '../../transaction/watch-round.ts'
import { type Context, defineCommand, flag } from '../command.ts'
import { shown } from '../options.ts'
import { recoverFirst } from '../recover-first.ts'

export const command = defineCommand({
  description:
    'Looks for changes that were made by hand, and makes a transaction of them, which can be taken back as any other: /etc, /boot and the list of packages each minute, programs each hour, all of the system once a day. Logs, caches, homes and data of services are left out; vml tx watch add has a look at further paths. Without it, changes by hand are found when the next transaction begins.',
  operands: [
    {
      name: 'ACTION',
      description: 'add, rm or list: further paths',
      required: false,
      complete: ['add', 'rm', 'list'],
    },
    { name: 'PATH', description: 'a file or folder', required: false, many: true, complete: 'file' },
  ],
  options: {
    once: flag('--once', 'look once, at what is due, and end: for a timer'),
    all: flag('--all', 'with --once: at all of the system'),
    install: flag('--install', 'have a timer of the system look every five minutes'),
    uninstall: flag('--uninstall', 'take that timer away'),
    dryRun: flag('-n, --dry-run', 'with --install, --uninstall, add or rm: only say what would be done'),
  },
  examples: [
    { line: 'sudo vml tx watch --once', does: 'record what was changed by hand until now' },
    { line: 'sudo vml tx watch --install', does: 'have a timer do so' },
    { line: 'sudo vml tx watch add /srv/site', does: 'watch a folder that is none of the system' },
    { line: 'sudo vml tx watch', does: 'stay, and look soon after each change' },
  ],
  async run(context, { operands: [action, ...typed], options }) {
    const ways = [options.once, options.install, options.uninstall, action !== undefined].filter(Boolean)
    if (ways.length > 1 || (options.all && !options.once))
      throw new VmlError('usage', 'Cannot tell what to do', {
        hint: 'Give one of --once, --install, --uninstall, or add, rm, list; --all goes with --once',
      })
    requireRoot('watch this machine')
    if (action !== undefined) return await changePaths(context, action, typed.map(pathOf), options.dryRun)
    if (options.install || options.uninstall) return await changeTimer(context, options)
    if (options.dryRun)
      throw new VmlError('usage', 'Cannot watch with --dry-run: it changes nothing but the logbook', {
        hint: 'Nothing was changed. Leave it away; it goes with --install, --uninstall, add and rm',
      })
    const parts = await partsOf(context)
    const { dueTier, watchRound } = await import('../../transaction/watch-round.ts')
    if (options.once) {
      const tier = options.all ? 'everything' : dueTier(parts)
      const round = await watchRound(parts, tier)
      context.out.message({
        message_type: 'summary',
        schema: 1,
        outcome: round.kind,
        ...(round.kind === 'nothing' || round.kind === 'recorded' ? { looked_at: tier } : {}),
        ...(round.kind === 'recorded' ? { number: round.record.number } : {}),
      })
      tell(context, round)
      if (round.kind === 'nothing') context.out.note(`Nothing was changed by hand${notLookedAt[tier]}`)
      return
    }
    const { watchMachine } = await import('../../app/watch-machine.ts')
    context.out.note('Looking for changes made by hand; Ctrl-C ends it')
    await watchMachine(parts, context, (round) => tell(context, round))
  },
})

const notLookedAt: Readonly<Record<WatchTier, string>> = {
  books:
    ' in /etc, /boot, the lists of packages and what was added; programs were looked at within the last hour, and not now: --all does',
  programs:
    ' in /etc, /boot, /usr, /opt, the lists of packages and what was added; the rest was looked at within the last day, and not now: --all does',
  everything: '',
}

async function partsOf(context: Context) {
  context.whenCancelled('nothing was changed but the logbook')
  const logbook = await context.openSystemLogbook({ make: true })
  const parts = openTransactionParts(context, logbook)
  await recoverFirst(context, parts)
  return parts
}

function tell({ out }: Context, round: WatchRound): void {
  switch (round.kind) {
    case 'recorded':
      out.line(
        `#${round.record.number}: ${round.record.title}. To take it back: vml tx undo ${round.record.number}`,
      )
      return
    case 'busy':
      out.note('A transaction is open: it looks by itself')
      return
    case 'stock':
      out.note('What is there now is known: changes are told from here on')
      return
    case 'nothing':
  }
}

async function changePaths(
  context: Context,
  action: string,
  paths: readonly RawPath[],
  isDryRun: boolean,
): Promise<void> {
  const { out } = context
  const { addExtraPaths, extraPathFile, removeExtraPaths } = await import('../../app/extra-path-file.ts')
  const { readExtraPaths } = await import('../../transaction/extra-paths.ts')
  if (action === 'list') {
    const all = readExtraPaths({ root: rootPath })
    out.document({ schema: 1, paths: all.map(printable) })
    for (const path of all) out.line(printable(path))
    if (all.length === 0) out.note('No further paths: vml tx watch add PATH')
    return
  }
  const hint = 'vml tx watch add PATH..., vml tx watch rm PATH..., vml tx watch list'
  if (action !== 'add' && action !== 'rm')
    throw new VmlError('usage', `Cannot do "${shown(action)}": what is watched has add, rm and list`, {
      hint,
    })
  if (paths.length === 0) throw new VmlError('usage', `Cannot ${action} no path: none is given`, { hint })
  if (isDryRun) {
    const named = paths.map((path) => `${printable(path)}${action === 'add' ? notThereText(path) : ''}`)
    out.note(`Would ${action === 'add' ? 'add to' : 'take out of'} ${extraPathFile}: ${named.join(', ')}`)
    return
  }
  if (action === 'rm') {
    const removed = await removeExtraPaths(paths)
    out.document({ schema: 1, removed: removed.map(printable) })
    for (const path of paths)
      out.line(`${removed.includes(path) ? 'Not watched any more' : 'Was not there'}: ${printable(path)}`)
    return
  }
  const parts = await partsOf(context)
  const { isOutOfSight, learnExtraPaths } = await import('../../transaction/watch-round.ts')
  const away = paths.find((path) => isOutOfSight(parts, path))
  if (away !== undefined)
    throw new VmlError(
      'unsupported',
      `Cannot watch "${printable(away)}": it lies on a file system, or in a folder, that no transaction has`,
      {
        hint: 'Nothing was changed. What is written by a running service, or lasts for one boot, is saved with vml save',
      },
    )
  // What was changed until now is recorded by the rules of until now.
  await parts.beforeChange?.()
  const added = await addExtraPaths(paths)
  await learnExtraPaths(parts, added)
  out.document({
    schema: 1,
    added: added.map(printable),
    not_there: paths.filter((path) => !isThere(path)).map(printable),
  })
  for (const path of paths)
    out.line(
      `${added.includes(path) ? 'Watched from now on' : 'Was watched already'}: ${printable(path)}${notThereText(path)}`,
    )
}

/** What is made there later is a change, so that it may be meant; or it is a slip of the keys. */
function notThereText(path: RawPath): string {
  return isThere(path) ? '' : ' (nothing is there yet)'
}

function isThere(path: RawPath): boolean {
  return lstatSync(rawToBytes(path), { throwIfNoEntry: false }) !== undefined
}

async function changeTimer(
  { out, signal }: Context,
  { uninstall, dryRun: isDryRun }: { readonly uninstall: boolean; readonly dryRun: boolean },
): Promise<void> {
  const { planWatchTimer } = await import('../../app/watch-timer.ts')
  const { runSchedule } = await import('../../app/run-schedule.ts')
  const plan = planWatchTimer()
  const steps = uninstall ? plan.uninstall : plan.install
  for (const step of steps)
    out.line(
      `${isDryRun ? 'Would ' : ''}${step.kind} ${step.kind === 'run' ? step.argv.join(' ') : shown(step.path)}`,
    )
  if (!isDryRun) await runSchedule(steps, signal, 'Call vml tx watch --once from a timer of your own')
  out.document({ schema: 1, dry_run: isDryRun, steps })
  if (!isDryRun)
    out.note(
      uninstall
        ? 'No timer looks any more'
        : 'A timer looks every five minutes: what is changed by hand becomes a transaction. vml tx watch --uninstall ends it',
    )
  if (!uninstall) for (const note of plan.notes) out.note(`  ${note}`)
}

function pathOf(typed: string): RawPath {
  const path = parseRawPath(rawFromString(typed))
  if (path !== undefined && path !== rootPath && !typed.includes('\n')) return path
  throw new VmlError('usage', `Cannot watch "${shown(typed)}": it is no absolute path of a file or folder`)
}
