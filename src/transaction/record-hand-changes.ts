// Changes that were made by hand, once they are found, as a transaction of their own.
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { firstFew } from '../base/first-few.ts'
import { printable, printableText, type RawText, rawToBytes } from '../base/raw-text.ts'
import { listEntries, nextEntryNumber } from '../engine/entries.ts'
import type { RawPath } from '../model/raw-path.ts'
import { countChanges, type PathChange, type RecordedChange } from '../model/transaction.ts'
import { type ChangedHolds, changedHolds } from '../packages/dpkg-holds.ts'
import { extendedStatesPath, statusPath } from '../packages/dpkg-system.ts'
import { type Baseline, contentIn, fingerprintIn } from './baseline-file.ts'
import { type TransactionParts, folderAttributes, tokenTag } from './end-stage.ts'
import { readIfThere } from './open-stage.ts'
import { packagedContents } from './packaged-contents.ts'
import { packageSetOf, readPackagesNow, sourcedFiles, transitionsOf } from './packages-now.ts'
import { recordChanges } from './record-changes.ts'
import { storeTransaction } from './transaction-entry.ts'
import { inRoot, pathIn } from './workplace.ts'

/**
 * `baseline` and `takenMs`: what was known of the machine, and since when. `beforeStored` is given what will be recorded: what fails there
 * fails before anything is. Undefined where the same record is there already.
 */
export async function storeHandChanges(
  parts: TransactionParts,
  found: readonly PathChange[],
  {
    baseline,
    folder,
    takenMs,
    beforeStored,
  }: {
    readonly baseline: Baseline
    readonly folder: RawPath
    readonly takenMs: number
    readonly beforeStored: (changes: readonly RecordedChange[]) => Promise<void>
  },
) {
  const after = await readPackagesNow(parts)
  const { manager, packages } = transitionsOf(parts, await packagesBefore(baseline), after)
  const { signal } = parts
  const missing = found.filter(({ before: was }) => was?.type === 'file' && was.sha256 === undefined)
  const packaged = await packagedContents(parts, missing, {
    files: sourcedFiles(after),
    folder,
    sources: parts.packageSources,
  })
  const all = found.map((change) => packaged.completed.get(change.path) ?? change)
  const kept = new Map<RawPath, RawText>(packaged.places)
  for (const [at, { path, before: was, after: is }] of all.entries()) {
    if (was?.type !== 'file' || was.sha256 === undefined || kept.has(path)) continue
    const content = contentIn(baseline, was)
    if (content) {
      const place = pathIn(folder, `kept-${at}`)
      writeFileSync(rawToBytes(place), content, { mode: 0o600 })
      kept.set(path, place)
    } else if (is?.sha256 === was.sha256) kept.set(path, inRoot(parts, path))
  }
  const { changes, deltas, gaps, preImageBytes } = await recordChanges(all, {
    references: new Map(),
    before: (path) => kept.get(path),
    lost: (path) =>
      packaged.reasons.get(path) ??
      'its content was not kept: it is too large, or was added since stock was taken',
    after: (path) => inRoot(parts, path),
    packagesBefore: after,
    packagesAfter: after,
    ruleOf: () => undefined,
    // What people edit is changed in place: it is no base to rely on.
    pin: () => Promise.resolve(false),
  })
  await beforeStored(changes)
  const tag = `${tokenTag}${tokenOf(all)}`
  const earlier = (await listEntries(parts.logbook, { signal })).some(({ snapshot }) =>
    snapshot.tags.includes(tag),
  )
  if (earlier) return undefined
  const nowMs = parts.clock.now()
  const title = titleOf(all, holdsOf())
  await using writer = await parts.logbook.repository.beginWrite({ signal, thorough: true })
  const stored = await storeTransaction(
    writer,
    {
      title,
      note: '',
      tags: [tag],
      machine: parts.machine,
      document: {
        schema: 1,
        source: 'hand',
        mode: 'live',
        modeReason: 'nobody told VML of it: it was found by a look at the machine',
        command: [],
        user: { name: 'unknown', uid: nobody },
        startedAt: new Date(firstChangeMs(all, { takenMs, nowMs })).toISOString(),
        endedAt: new Date(nowMs).toISOString(),
        exitStatus: 0,
        ...(manager === undefined ? {} : { manager }),
        packages,
        validations: [],
        services: [],
        complete: gaps.length === 0,
        gaps,
        counts: countChanges(all),
        storedBytes: 0,
        preImageBytes,
      },
      changes,
      contentBefore(path) {
        const file = kept.get(path)
        if (file === undefined) throw new TypeError('A pre-image that was not kept was to be stored')
        return { file }
      },
      contentAfter: (path) => ({ file: inRoot(parts, path) }),
      deltas,
      folderAttributes: (path) => folderAttributes(parts, path),
      packages: packageSetOf(after, manager),
    },
    { nextNumber: async () => await nextEntryNumber(parts.logbook, { signal }), signal },
  )
  return { ...stored, title }

  function holdsOf(): ChangedHolds | undefined {
    const was = found.some(({ path }) => path === statusPath)
      ? fingerprintIn(baseline, statusPath)
      : undefined
    const before = was && contentIn(baseline, was)
    const now = before && readIfThere(inRoot(parts, statusPath))
    return now && changedHolds(before.toString('latin1'), now.toString('latin1'))
  }

  /** Where dpkg's books were changed without VML. */
  async function packagesBefore(of: Baseline) {
    if (!found.some(({ path }) => path === statusPath || path === extendedStatesPath)) return after
    return await readPackagesNow(parts, (path) => {
      const was = fingerprintIn(of, path)
      return was && contentIn(of, was)
    })
  }
}

/** Of nobody whom VML saw: the number that systems give to nobody. */
const nobody = 65534

function firstChangeMs(
  changes: readonly PathChange[],
  { takenMs, nowMs }: { readonly takenMs: number; readonly nowMs: number },
): number {
  const times = changes.flatMap(({ after }) =>
    after?.ctimeNs === undefined ? [] : Number(after.ctimeNs / 1_000_000n),
  )
  const first = times.reduce((least, time) => Math.min(least, time), nowMs)
  // A clock may have jumped.
  return Math.min(Math.max(first, Math.min(Math.floor(takenMs), nowMs)), nowMs)
}

/** The same changes of the same state have the same one. */
function tokenOf(changes: readonly PathChange[]): string {
  const sum = createHash('sha256')
  for (const { path, before, after } of changes)
    for (const part of [path, before?.ctimeNs, before?.inode, after?.ctimeNs, after?.inode, after?.sha256])
      sum.update(`${String(part)}\0`)
  return sum.digest('hex').slice(0, 32)
}

const titlePathCharactersMax = 120

/** What a hold changes is a word in the list of all packages: the name of that file would tell nobody. */
function titleOf(changes: readonly PathChange[], holds: ChangedHolds | undefined): string {
  const held = [
    ...(holds?.held.length ? [`${firstFew(holds.held, namesToldMax, printableText)} pinned`] : []),
    ...(holds?.released.length ? [`${firstFew(holds.released, namesToldMax, printableText)} unpinned`] : []),
  ]
  const isAlone = held.length > 0 && changes.length === 1
  return `changes by hand: ${[...(isAlone ? [] : [pathsText(changes)]), ...held].join('; ')}`
}

const namesToldMax = 3

/** The path that says most: a file rather than the folder above it. */
function pathsText(changes: readonly PathChange[]): string {
  const first = changes.find(({ before, after }) => (after ?? before)?.type !== 'dir') ?? changes[0]
  const path = first ? printable(first.path) : ''
  const shown = path.length > titlePathCharactersMax ? `${path.slice(0, titlePathCharactersMax)}…` : path
  return `${shown}${changes.length > 1 ? ` and ${changes.length - 1} more` : ''}`
}
