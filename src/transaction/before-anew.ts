// What an undo has programs make anew, seen before and after: what they did not make is no success, and what they made is part of the record.
import { constants, copyFileSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { VmlError } from '../base/failure.ts'
import { asRaw, printable, type RawText, rawToBytes } from '../base/raw-text.ts'
import { freeBeside } from '../model/beside-path.ts'
import { joinPath, parentPath, type RawName, type RawPath } from '../model/raw-path.ts'
import { isAlwaysWritten, ruleWhenChanged } from '../model/regeneration.ts'
import { parseChanges } from '../model/transaction-record.ts'
import { type Fingerprint, type PathChange, sameState } from '../model/transaction.ts'
import { sha256Of } from '../stage/fingerprint.ts'
import { encodeIntended } from './commit-intent.ts'
import { fingerprintOf } from './end-stage.ts'
import { giveAttributes } from './give-attributes.ts'
import type { KeptBefore } from './kept-before.ts'
import { copyLive } from './live-content.ts'
import { readIfThere } from './open-stage.ts'
import { inRoot, openFolder, pathIn, type Workplace } from './workplace.ts'

/** What lay at a path before a program wrote there. */
interface Seen {
  readonly before: Fingerprint | undefined
  /** Of what its rule does not make again: it was changed since, by hand perhaps. */
  readonly copy?: RawPath
}

export type SeenBefore = ReadonlyMap<RawPath, Seen>

/** Before the commit, and durable: contents are copied, which the programs write over. */
export async function lookBeforeMadeAnew(
  place: Workplace,
  regenerated: readonly RawPath[],
): Promise<SeenBefore> {
  const made = regenerated.filter((path) => ruleWhenChanged(path)?.path === 'made')
  if (made.length === 0) return new Map()
  const seen = new Map<RawPath, Seen>()
  const folder = copiesFolder(place)
  mkdirSync(folder, { mode: 0o700 })
  for (const path of made) {
    const before = await fingerprintOf(place, path)
    seen.set(path, seenAt(place, path, { before, number: seen.size }))
    const { copy } = seen.get(path) ?? {}
    if (copy === undefined || before === undefined) continue
    copyLive(place, { path, sha256: before.sha256 }, (open) =>
      copyFile(place, { from: open, to: copy, before }),
    )
  }
  // All of them, by their numbers: what was not there has no state before.
  const listed = [...seen].map(([path, { before }]): PathChange => ({ path, ...(before ? { before } : {}) }))
  writeFileSync(pathIn(folder, 'list.new'), encodeIntended(listed), { mode: 0o600 })
  place.disk.syncDisk(folder)
  // Its being there says that it, and the copies, are whole.
  renameSync(pathIn(folder, 'list.new'), pathIn(folder, 'list'))
  place.disk.syncFolder(folder)
  return seen
}

/** Of an undo that was cut off, by whoever ends it. Where nothing is known of what was there, nothing is told of what was made. */
export function readSeenBefore(place: Workplace): SeenBefore {
  const list = readIfThere(pathIn(copiesFolder(place), 'list'))
  if (list === undefined) return new Map()
  return new Map(
    parseChanges(list).map(({ path, before }, number) => [path, seenAt(place, path, { before, number })]),
  )
}

function seenAt(
  place: Workplace,
  path: RawPath,
  { before, number }: { readonly before: Fingerprint | undefined; readonly number: number },
): Seen {
  const isCopied = ruleWhenChanged(path)?.keepsPreImage === true && before?.type === 'file'
  return { before, ...(isCopied ? { copy: pathIn(copiesFolder(place), String(number)) } : {}) }
}

function copiesFolder(place: Pick<Workplace, 'state'>): RawPath {
  return pathIn(openFolder(place), 'before-anew')
}

/** After the programs have run. */
export async function changesMadeAnew(place: Workplace, seen: SeenBefore): Promise<PathChange[]> {
  const changes: PathChange[] = []
  for (const [path, { before }] of seen) {
    const after = await fingerprintOf(place, path)
    if (sameState(before, after)) continue
    changes.push({ path, ...(before ? { before } : {}), ...(after ? { after } : {}) })
  }
  return changes
}

/** Fails where one that always writes its file has not. */
export async function requireMadeAnew(place: Workplace, seen: SeenBefore): Promise<void> {
  for (const [path, { before }] of seen)
    if (isAlwaysWritten(path) && !isWritten(before, await fingerprintOf(place, path))) throw notMadeAnew(path)
}

export function notMadeAnew(path: RawPath): VmlError {
  return new VmlError(
    'proof',
    `"${printable(path)}" was not made anew: its program ended well, and did not write it`,
    {
      details: { path: printable(path) },
      hint: 'Everything was put back as it was before',
    },
  )
}

function isWritten(before: Fingerprint | undefined, after: Fingerprint | undefined): boolean {
  if (after?.type !== 'file') return false
  return before === undefined || before.inode !== after.inode || before.ctimeNs !== after.ctimeNs
}

export function withSeen(kept: KeptBefore, seen: SeenBefore): KeptBefore {
  return { ...kept, at: (path) => kept.at(path) ?? seen.get(path)?.copy }
}

/** Paths at which nothing lay: what was made there goes with an undo that is taken back. */
export function cameAnew(seen: SeenBefore): RawPath[] {
  return [...seen].flatMap(([path, { before }]) => (before === undefined ? [path] : []))
}

/** Last in a take-back: its caches are made anew before, by the same programs. */
export async function putBackCopies(place: Workplace, seen: SeenBefore): Promise<void> {
  for (const [path, { before, copy }] of seen) {
    if (before === undefined || copy === undefined) continue
    if (sameState(before, await fingerprintOf(place, path))) continue
    const beside = inRoot(place, joinPath(parentPath(path), asRaw('.vml-before-anew') as RawName))
    rmSync(rawToBytes(beside), { force: true })
    copyFile(place, { from: copy, to: beside, before })
    renameSync(rawToBytes(beside), rawToBytes(inRoot(place, path)))
  }
}

interface Since {
  readonly is: Fingerprint
  readonly copy: RawPath
}

/**
 * After a crash, before the programs run: what lies at a path of which there is a copy may be what they had written already, or what somebody wrote since. Which of them, what
 * they write next tells. One that an earlier recovery kept, which was cut off, is that of then.
 */
export async function keepSince(place: Workplace, seen: SeenBefore): Promise<ReadonlyMap<RawPath, Since>> {
  const since = new Map<RawPath, Since>()
  for (const [path, { before, copy: kept }] of seen) {
    const now = kept === undefined ? undefined : await fingerprintOf(place, path)
    if (kept === undefined || now?.type !== 'file' || sameState(now, before)) continue
    const copy = asRaw(`${kept}.since`) as RawPath
    const ready = asRaw(`${kept}.new`)
    if (place.disk.look(copy) === undefined) {
      rmSync(rawToBytes(ready), { force: true })
      copyLive(place, { path, sha256: now.sha256 }, (open) =>
        copyFile(place, { from: open, to: ready, before: now }),
      )
      renameSync(rawToBytes(ready), rawToBytes(copy))
    }
    since.set(path, { is: { ...now, sha256: await sha256Of(copy, () => {}) }, copy })
  }
  return since
}

/** What the programs have not written again was somebody's: it is put beside. */
export async function leaveSince(place: Workplace, since: ReadonlyMap<RawPath, Since>): Promise<void> {
  for (const [path, { is, copy }] of since) {
    if ((await fingerprintOf(place, path))?.sha256 === is.sha256) continue
    const mine = freeBeside(path, 'mine', (each) => place.disk.look(inRoot(place, each)) === undefined)
    copyFile(place, { from: copy, to: inRoot(place, mine), before: is })
    place.reporter.warn({
      warning: `"${printable(path)}" was written to since the crash, and is made anew or put back: what it was then lies beside it, as "${printable(mine)}"`,
    })
  }
}

function copyFile(
  place: Pick<Workplace, 'libc'>,
  { from, to, before }: { readonly from: RawText; readonly to: RawText; readonly before: Fingerprint },
): void {
  copyFileSync(rawToBytes(from), rawToBytes(to), constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE)
  giveAttributes(place, to, before)
}
