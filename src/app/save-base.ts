// What a save of a machine starts from: the entry whose unchanged files are taken over, and the bytes of the base image.
import type { Clock } from '../base/clock.ts'
import type { Reporter } from '../base/progress.ts'
import { entryName, type LoggedEntry, readEntryDocument } from '../engine/entries.ts'
import type { SaveBase } from '../engine/save.ts'
import type { Machine } from '../model/machine.ts'
import { isDamage } from '../store/damage.ts'
import type { Repository } from '../store/store.ts'
import type { Config } from './config.ts'

interface Context {
  readonly config: Config
  readonly clock: Clock
  readonly reporter: Reporter
  readonly signal: AbortSignal
}

export async function openBase(
  context: Pick<Context, 'reporter' | 'signal'>,
  repository: Repository,
  entry: LoggedEntry | undefined,
): Promise<SaveBase | undefined> {
  if (!entry) return undefined
  try {
    const document = await readEntryDocument(repository, entry.snapshot, context)
    return document ? { entry, document } : undefined
  } catch (error) {
    // What is lost must not keep anybody from saving what is there.
    if (!isDamage(error)) throw error
    context.reporter.warn({
      warning: `Entry ${entryName(entry)} is damaged, and everything is read again: ${error.message}; see vml check`,
    })
    return undefined
  }
}

/** The bytes that the machine started from: what its last entry says of them holds, whatever is published since. */
export async function digestOfImage(
  { config, clock, signal }: Omit<Context, 'reporter'>,
  { image }: Machine,
  base: SaveBase | undefined,
): Promise<string | undefined> {
  if (!image) return undefined
  const before = base?.document.image
  if (before?.sha256 !== undefined && before.name === image.name && before.version === image.version)
    return before.sha256
  const { findDigest } = await import('./images.ts')
  return await findDigest(config, { reference: image, clock, signal })
}
