// Whoever looks at this machine's transactions is told that one was cut off, and what mends it.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { systemFolder } from '../app/system-logbook.ts'
import { rootPath } from '../model/raw-path.ts'
import { pathIn } from '../transaction/workplace.ts'
import type { Context } from './command.ts'

/** Most machines have none, and no list waits for what reads it to be imported. */
export async function tellLeftBehind({ reporter }: Pick<Context, 'reporter'>): Promise<void> {
  if (!existsSync(join(systemFolder, 'stage', 'open'))) return
  const { describeLeftBehind } = await import('../transaction/left-behind.ts')
  const warning = describeLeftBehind({ state: pathIn(rootPath, systemFolder) })
  if (warning !== undefined) reporter.warn({ warning })
}
