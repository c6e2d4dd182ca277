// What an undo has programs make anew, seen before and after: what they did not make is no success, and what they made is part of the record.
import { constants, copyFileSync, mkdirSync } from 'node:fs'
import { VmlError } from '../base/failure.ts'
import { printable, type RawText, rawToBytes } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import { isAlwaysWritten, ruleWhenChanged } from '../model/regeneration.ts'
import { type Fingerprint, type PathChange, sameState } from '../model/transaction.ts'
import { fingerprintOf } from './end-stage.ts'
import type { KeptBefore } from './kept-before.ts'
import { copyLive } from './live-content.ts'
import { openFolder, pathIn, type Workplace } from './workplace.ts'

/** What lay at a path before a program wrote there. */
interface Seen {
  readonly before: Fingerprint | undefined
  /** Of what its rule does not make again: it was changed since, by hand perhaps. */
  readonly copy?: RawText
}

/** Before the commit, since contents are copied: what is not kept then is lost. */
export async function lookBeforeMadeAnew(
  place: Workplace,
  regenerated: readonly RawPath[],
): Promise<ReadonlyMap<RawPath, Seen>> {
  const folder = pathIn(openFolder(place), 'before-anew')
  const seen = new Map<RawPath, Seen>()
  for (const path of regenerated) {
    const rule = ruleWhenChanged(path)
    if (rule?.path !== 'made') continue
    const before = await fingerprintOf(place, path)
    if (!rule.keepsPreImage || before?.type !== 'file') {
      seen.set(path, { before })
      continue
    }
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const copy = pathIn(folder, String(seen.size))
    copyLive(place, { path, sha256: before.sha256 }, (open) =>
      copyFileSync(rawToBytes(open), rawToBytes(copy), constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE),
    )
    seen.set(path, { before, copy })
  }
  return seen
}

/** After the programs have run. Fails where one that always writes its file has not. */
export async function changesMadeAnew(
  place: Workplace,
  seen: ReadonlyMap<RawPath, Seen>,
): Promise<PathChange[]> {
  const changes: PathChange[] = []
  for (const [path, { before }] of seen) {
    const after = await fingerprintOf(place, path)
    if (isAlwaysWritten(path) && !isWritten(before, after)) throw notMadeAnew(path)
    if (!sameState(before, after))
      changes.push({ path, ...(before ? { before } : {}), ...(after ? { after } : {}) })
  }
  return changes
}

export function notMadeAnew(path: RawPath): VmlError {
  return new VmlError(
    'proof',
    `"${printable(path)}" was not made anew: its program ended well, and did not write it`,
    {
      details: { path: printable(path) },
      hint: 'Everything was put back as it was before the undo',
    },
  )
}

function isWritten(before: Fingerprint | undefined, after: Fingerprint | undefined): boolean {
  if (after?.type !== 'file') return false
  return before === undefined || before.inode !== after.inode || before.ctimeNs !== after.ctimeNs
}

export function withSeen(kept: KeptBefore, seen: ReadonlyMap<RawPath, Seen>): KeptBefore {
  return { ...kept, at: (path) => kept.at(path) ?? seen.get(path)?.copy }
}
