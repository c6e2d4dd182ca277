// Diversions that end or begin with an undo: the file of the package that was diverted lies elsewhere then, as that package has it by now.
import { rawFromBytes, type RawText } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import { type Fingerprint, sameState } from '../model/transaction.ts'
import { type Diversion, readDiversions } from '../packages/dpkg-diversions.ts'
import { aliasesAmong, underAliases } from '../packages/merged-folders.ts'
import { diversionsPath } from './maybe-kept.ts'
import type { TransactionContents } from './transaction-contents.ts'
import { type ReadTransaction, sha256Of } from './transaction-entry.ts'
import { mergeBytesMax, type PlannedPath, type UndoPaths, type UndoView } from './undo-plan.ts'
import { plannedBytes } from './undo-packages.ts'

/** A file of a package that stays, which the undo would leave where that package has it no more. */
export interface Misplaced {
  readonly owner: string
  readonly from: RawPath
  readonly to: RawPath
  /** Whose diversion ends or begins; those of the administrator have none. */
  readonly diverter: string | undefined
}

export interface DivertedUndo {
  /** Newest first. */
  readonly transactions: readonly ReadTransaction[]
  readonly paths: UndoPaths
  /** Names of packages that the undo takes away or brings to another version. */
  readonly going: ReadonlySet<string>
  /** Names of packages, by the diversions of now. */
  ownersOf(path: RawPath): readonly string[]
}

/**
 * What a package that stays has at the one place now is what it has to have at the other one afterwards: what lay there before the transactions may be of an older
 * version of it. Where a diversion ends, its file is moved there; where that cannot be done simply, it is `misplaced`.
 */
export async function planDiversions(
  view: UndoView,
  contents: TransactionContents,
  undo: DivertedUndo,
): Promise<{ readonly paths: UndoPaths; readonly misplaced: readonly Misplaced[] }> {
  let { paths } = undo
  const misplaced: Misplaced[] = []
  for (const { path, was, is } of await changedDiversions(view, contents, undo)) {
    const [from, to] = [was?.target ?? path, is?.target ?? path]
    const diverters = [was?.package, is?.package]
    const [owner] = undo.ownersOf(from).filter((name) => !diverters.includes(name) && !undo.going.has(name))
    const now = view.now(from)
    const planned = paths.paths.find((each) => each.path === to)
    const then = planned ? planned.wanted : view.now(to)
    if (owner === undefined || now === undefined || from === to) continue
    const isSame = isSameThing(view, { path: from, now }, { path: to, now: then })
    const ends = is === undefined
    // Of the same thing others may have set rights since.
    if (isSame && (!ends || sameState(now, then))) continue
    const moved = ends ? moveTo(view, undo, { from, to, now, paths }) : undefined
    if (moved) paths = moved
    else if (!isSame) misplaced.push({ owner, from, to, diverter: (was ?? is)?.package })
  }
  return { paths, misplaced }
}

interface ChangedDiversion {
  readonly path: RawPath
  readonly was: Diversion | undefined
  readonly is: Diversion | undefined
}

async function changedDiversions(
  view: UndoView,
  contents: TransactionContents,
  { paths }: DivertedUndo,
): Promise<readonly ChangedDiversion[]> {
  const planned = paths.paths.find(({ path }) => path === diversionsPath)
  if (planned === undefined) return []
  const aliases = aliasesAmong((path) => view.now(path)?.linkTarget)
  const read = (text: RawText) => readDiversions(text, (path) => underAliases(path, aliases)).byPath
  const now = read(rawFromBytes(planned.now ? view.contentNow(diversionsPath) : Buffer.alloc(0)))
  const then = read(
    rawFromBytes(planned.content ? await plannedBytes(contents, planned.content) : Buffer.alloc(0)),
  )
  return [...new Set([...now.keys(), ...then.keys()])].flatMap((path) => {
    const [was, is] = [now.get(path), then.get(path)]
    return was?.target === is?.target && was?.package === is?.package ? [] : [{ path, was, is }]
  })
}

interface Place {
  readonly path: RawPath
  readonly now: Fingerprint | undefined
}

function isSameThing(view: UndoView, { path, now }: Place, { path: other, now: then }: Place): boolean {
  if (now === undefined || then === undefined) return now === then
  if (now.type !== then.type || now.linkTarget !== then.linkTarget) return false
  if (now.type !== 'file') return true
  if (now.size !== then.size || (now.size ?? 0) > mergeBytesMax) return now.sha256 === then.sha256
  return hashOf(view, path, now) === hashOf(view, other, then)
}

/** What is planned has one; of what lies there and no transaction changed, only the outline was looked at. */
function hashOf(view: UndoView, path: RawPath, { sha256 }: Fingerprint): string {
  return sha256 ?? sha256Of(view.contentNow(path))
}

/** Undefined where anything else than the diverter's own file lies in the way, or what is to be moved is more than one plain file or link. */
function moveTo(
  view: UndoView,
  { transactions }: DivertedUndo,
  move: {
    readonly from: RawPath
    readonly to: RawPath
    readonly now: Fingerprint
    readonly paths: UndoPaths
  },
): UndoPaths | undefined {
  const { from, to, now, paths } = move
  const there = view.now(to)
  const isFree = there === undefined || paths.paths.some(({ path, how }) => path === to && how === 'restored')
  const isPlain =
    now.type === 'symlink' ||
    (now.type === 'file' && (now.links ?? 1) === 1 && (now.size ?? 0) <= mergeBytesMax)
  const wasThere = transactions.some(({ changes }) => {
    const change = changes.findLast(({ path }) => path === from)
    return change?.before !== undefined
  })
  const isConflict = paths.conflicts.some(({ path }) => path === to)
  if (!isFree || !isPlain || wasThere || isConflict) return undefined
  const bytes = now.type === 'file' ? view.contentNow(from) : undefined
  const moved: PlannedPath = {
    ...{ path: to, now: there, how: 'merged' },
    wanted: bytes ? { ...now, sha256: sha256Of(bytes) } : now,
    ...(bytes ? { content: { kind: 'bytes', bytes } } : {}),
  }
  const gone: PlannedPath = { path: from, now, wanted: undefined, how: 'restored' }
  const others = <T extends { readonly path: RawPath }>(each: readonly T[]) =>
    each.filter(({ path }) => path !== from && path !== to)
  return {
    ...paths,
    paths: [...others(paths.paths), moved, gone].toSorted((one, other) => (one.path < other.path ? -1 : 1)),
    conflicts: others(paths.conflicts),
    kept: others(paths.kept),
  }
}
