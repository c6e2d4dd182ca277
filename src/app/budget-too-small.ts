// Whether a budget is too small for the newest entry alone: what a user wants to hear when it is set, and not from a timer at night.
import { VmlError } from '../base/failure.ts'
import type { Reporter } from '../base/progress.ts'
import { isImported, listEntries, type LoggedEntry } from '../engine/entries.ts'
import type { Policy } from '../model/policy.ts'
import { openGrowth } from '../store/entry-sizes.ts'
import type { Config } from './config.ts'
import { openLogbook } from './open.ts'

/**
 * The newest entry that the policy is about, where it takes more by itself than a budget in bytes. Undefined also where that cannot be
 * found out without a question: a policy may be set before there is a logbook.
 */
export async function newestOverBudget(
  config: Config,
  { machine, project, budget }: Policy,
  { signal, reporter }: { readonly signal: AbortSignal; readonly reporter: Reporter },
): Promise<{ readonly entry: LoggedEntry; readonly bytes: number } | undefined> {
  if (budget?.kind !== 'bytes' || !config.logbook) return undefined
  try {
    await using logbook = await openLogbook(config, { signal, reporter, askSecret: async () => undefined })
    const entry = (await listEntries(logbook, { signal, reporter })).findLast(
      (each) =>
        each.kind === 'environment' &&
        each.machine === machine &&
        (project === undefined || each.project === project) &&
        !isImported(each),
    )
    if (!entry) return undefined
    const growth = await openGrowth(logbook.repository, { signal })
    const bytes = (await growth.add(entry.snapshot.tree)) ?? 0
    return bytes > budget.bytes ? { entry, bytes } : undefined
  } catch (error) {
    signal.throwIfAborted()
    if (!(error instanceof VmlError)) throw error
    return undefined
  }
}
