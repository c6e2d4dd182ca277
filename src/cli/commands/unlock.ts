// `vml unlock`: removes locks that are proved to be left behind.
import { hostname as readHostname } from 'node:os'
import { shortId } from '../../model/ids.ts'
import type { LockDescription } from '../../store/store.ts'
import { defineCommand, dryRun, flag } from '../command.ts'
import { formatDuration, plural } from '../format.ts'
import { shown } from '../options.ts'

export const command = defineCommand({
  description:
    'Removes locks that nobody holds any more: at once where the process is gone from this computer; after a watch of some minutes where one of another computer was not refreshed for half an hour, since whoever lives refreshes it meanwhile, whatever its clock says. VML clears up behind its own dead processes of this computer by itself.',
  operands: [],
  options: {
    removeAll: flag('--remove-all', 'remove every lock, whoever holds it, after a question'),
    dryRun,
  },
  examples: [
    { line: 'vml unlock', does: 'remove what is left behind, and tell who holds the rest' },
    { line: 'vml unlock --dry-run', does: 'only tell who holds what' },
    { line: 'vml unlock --remove-all', does: 'where you know that no other program is at work' },
  ],
  async run(context, { options }) {
    const { out, signal, reporter } = context
    const { repository } = await context.openLogbook()
    const locks = await Array.fromAsync(repository.locks({ signal }))
    if (options.dryRun || options.removeAll) for (const lock of locks) out.line(lineOf(lock))
    if (locks.length === 0) out.line('There is no lock')
    if (options.dryRun || locks.length === 0) {
      out.document({ schema: 1, dry_run: options.dryRun, removed: [], held: locks })
      return
    }
    if (options.removeAll) {
      await context.confirm(
        `Remove ${locks.length === 1 ? 'this lock' : `these ${locks.length} locks`}? A program that is still at work may lose what it is saving, or damage the logbook.`,
      )
      await repository.removeLocks(
        locks.map(({ id }) => id),
        { signal },
      )
      out.note(`Removed ${plural(locks.length, 'lock')}`)
      out.document({ schema: 1, dry_run: false, removed: locks, held: [] })
      return
    }
    const removed = await repository.removeStaleLocks({
      signal,
      onWatch: (watched, ms) => {
        for (const lock of watched) out.note(lineOf(lock))
        out.note(
          `Watching ${watched.length === 1 ? 'it' : 'them'} for ${formatDuration(ms)}: whoever is still there writes a lock anew in that time. --remove-all does not wait`,
        )
        reporter.progress({ phase: 'watching locks' })
      },
    })
    const gone = new Set(removed.map(({ id }) => id))
    const held = (await Array.fromAsync(repository.locks({ signal }))).filter(({ id }) => !gone.has(id))
    for (const lock of removed) out.line(`Removed: ${lineOf(lock)}`)
    for (const lock of held) out.line(lineOf(lock))
    if (held.length > 0)
      out.note(
        `${plural(held.length, 'lock')} left as ${held.length === 1 ? 'it is' : 'they are'}: ${held.every(isInUse) ? 'in use' : `nothing proves that nobody holds ${held.length === 1 ? 'it' : 'them'}`}`,
      )
    out.document({ schema: 1, dry_run: false, removed, held })
  },
})

const stateWords: Readonly<Record<LockDescription['state'], string>> = {
  held: 'may be in use',
  ended: 'its process has ended',
  missing: 'no such process here',
  silent: 'not refreshed for half an hour',
  unreadable: 'cannot be read',
}

/** Only of a process of this computer can that be seen; another one wrote its lock in the last half hour, and may be gone since. */
function isInUse({ state, hostname }: LockDescription): boolean {
  return state === 'held' && hostname === readHostname()
}

function lineOf(lock: LockDescription): string {
  const { id, state, exclusive, hostname, username, pid, time } = lock
  const inUse = isInUse(lock)
  if (state === 'unreadable') return `${shortId(id)}  ${stateWords[state]}`
  return `${shortId(id)}  process ${pid} of ${shown(username)} on ${shown(hostname)}${exclusive ? ', alone' : ''}, since ${shown(time)}: ${inUse ? 'in use' : stateWords[state]}`
}
