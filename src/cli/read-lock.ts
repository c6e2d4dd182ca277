// A shared lock for reading long: no program that honours restic's locks removes packs meanwhile.
import { isFailure, VmlError } from '../base/failure.ts'
import type { Repository } from '../store/store.ts'
import type { Context } from './command.ts'

/**
 * `strict` fails with `store.locked` where another program holds the logbook alone. Otherwise that is a warning, as a full or read-only
 * disk always is: reading harms nobody, and a pack that goes meanwhile is a named failure.
 */
export async function keepPrunesOut(
  { reporter, signal }: Pick<Context, 'reporter' | 'signal'>,
  repository: Repository,
  mode: 'strict' | 'careful',
): Promise<AsyncDisposable | undefined> {
  if (repository.readOnly) return undefined
  try {
    // A careful reader goes on without: it need not wait until it is clear whether somebody is there.
    return await repository.lock('shared', { signal, watch: mode === 'strict' })
  } catch (error) {
    if (isFailure(error, 'store.locked') && mode === 'strict') {
      throw new VmlError('store.locked', error.message, {
        cause: error,
        details: error.details,
        hint: `${error.hint ?? 'Wait until it is done'}. vml check --no-lock looks at the logbook as it is`,
      })
    }
    if (!isFailure(error, 'store.locked', 'failed', 'unavailable.space')) throw error
    reporter.warn({ warning: `Reads without a lock: ${error.message}` })
    return undefined
  }
}
