// Whoever looks at this machine's transactions is told that one was cut off, and what mends it.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { systemFolder } from '../app/system-logbook.ts'
import { rootPath } from '../model/raw-path.ts'
import { pathIn } from '../transaction/workplace.ts'
import type { Context } from './command.ts'

export async function tellLeftBehind({ out, reporter }: Context): Promise<void> {
  // The one document of a look is not to become a row of messages for it: vml tx list has it in its own.
  if (out.json) return
  const warning = await leftBehindHere()
  if (warning !== undefined) reporter.warn({ warning })
}

export async function leftBehindHere(): Promise<string | undefined> {
  // Most machines have none, and no list waits for what reads it to be imported.
  if (!existsSync(join(systemFolder, 'stage', 'open'))) return undefined
  const { describeLeftBehind } = await import('../transaction/left-behind.ts')
  return describeLeftBehind({ state: pathIn(rootPath, systemFolder) })
}
