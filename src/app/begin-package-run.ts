// A run of apt or dpkg begins: its stage is opened, or the machine is kept as it is.
import { readFileSync } from 'node:fs'
import { isFailure, messageOf } from '../base/failure.ts'
import { writeFileDurable } from '../base/files.ts'
import { numberInProc } from '../base/process-mark.ts'
import { printable, rawFromBytes, type RawText } from '../base/raw-text.ts'
import { rootPath } from '../model/raw-path.ts'
import { titleCharactersMax } from '../model/transaction.ts'
import {
  livePackagesFile,
  livePatterns,
  type LiveRule,
  liveRules,
  parseLiveRules,
} from '../packages/live-only.ts'
import { isPartOf } from '../transaction/at-work.ts'
import type { TransactionParts } from '../transaction/end-stage.ts'
import { openStage, readIfThere } from '../transaction/open-stage.ts'
import { pathOfNote, readStageNote, type StageNote } from '../transaction/stage-note.ts'
import { inRoot, openFolder, pathIn } from '../transaction/workplace.ts'
import { policyScriptOf } from './transactions.ts'

export interface PackageRun {
  readonly source: 'apt' | 'dpkg'
  readonly processId: number
  readonly user: StageNote['user']
}

/** `part`: it is within a transaction that is open, and becomes a part of that. */
export async function beginPackageRun(
  parts: TransactionParts,
  { source, processId, user }: PackageRun,
): Promise<'staged' | 'live' | 'part'> {
  const open = readStageNote(pathOfNote(openFolder(parts)))
  if (isPartOf(parts, open, processId)) return 'part'
  const command = commandOf(processId)
  const policy = policyScriptOf()
  const request = {
    source,
    title: titleOf(command),
    note: '',
    tags: [],
    command,
    user,
    processId,
    ...(policy === undefined ? {} : { policy }),
  }
  const beginLive = async (reason: string): Promise<'live'> => {
    const live = await import('../transaction/live-transaction.ts')
    await live.beginLive(parts, request, reason)
    return 'live'
  }
  if (source === 'dpkg') return await beginLive('dpkg was called by itself, and not by apt')
  try {
    await openStage(parts, request)
    await writeFileDurable(pathIn(openFolder(parts), 'live-names'), livePatterns(liveRulesOf(parts)))
    return 'staged'
  } catch (error) {
    if (!isFailure(error, 'unsupported')) throw error
    return await beginLive(messageOf(error))
  }
}

/** In one line. */
export function titleOf(command: readonly RawText[]): string {
  return command
    .map((word) => printable(word).replaceAll(/\s+/g, ' '))
    .join(' ')
    .slice(0, titleCharactersMax)
}

/** The machine's own first; a list that cannot be read is told, and the others hold. */
export function liveRulesOf(parts: TransactionParts): readonly LiveRule[] {
  const text = readIfThere(inRoot(parts, pathIn(rootPath, livePackagesFile)))
  if (text === undefined) return liveRules
  try {
    return [...parseLiveRules(text.toString('utf8')), ...liveRules]
  } catch (error) {
    parts.reporter.warn({ warning: messageOf(error) })
    return liveRules
  }
}

/** As it was started. */
export function commandOf(processId: number): RawText[] {
  try {
    const words = rawFromBytes(readFileSync(`/proc/${numberInProc(processId)}/cmdline`)).split('\0')
    return words.slice(0, -1).map((word) => rawFromBytes(Buffer.from(word, 'latin1')))
  } catch {
    return []
  }
}
