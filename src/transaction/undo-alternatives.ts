// Groups of alternatives that were changed again since: their file and all their links are planned together, as update-alternatives has them.
import { rawFromBytes, rawToBytes, type RawText } from '../base/raw-text.ts'
import { type AlternativeGroupOutcome, mergeAlternativeGroup } from '../model/alternative-group.ts'
import { baseName, joinPath, parentPath, type RawPath, rootPath } from '../model/raw-path.ts'
import type { Fingerprint, RecordedChange } from '../model/transaction.ts'
import { type ReadTransaction, sha256Of } from './transaction-entry.ts'
import type { PlannedPath, UndoPaths, UndoView } from './undo-plan.ts'
import { pathIn } from './workplace.ts'

const database = pathIn(rootPath, '/var/lib/dpkg/alternatives')
const links = pathIn(rootPath, '/etc/alternatives')

/** The plan with every such group put right. A group that cannot be merged stays a conflict, as it is now. */
export async function planAlternatives(
  view: UndoView,
  transactions: readonly ReadTransaction[],
  paths: UndoPaths,
): Promise<UndoPaths> {
  const unsettled = new Set(
    [
      ...paths.conflicts.map(({ path }) => path),
      ...paths.paths.filter(({ how }) => how === 'merged').map(({ path }) => path),
    ].flatMap((path) => groupOf(path)),
  )
  let planned = paths
  for (const name of unsettled) planned = await planGroup(view, transactions, planned, name)
  return planned
}

/** The file of a group, or the link that says what is chosen. */
function groupOf(path: RawPath): RawPath[] {
  const folder = parentPath(path)
  return folder === database || folder === links ? [joinPath(database, baseName(path))] : []
}

async function planGroup(
  view: UndoView,
  transactions: readonly ReadTransaction[],
  paths: UndoPaths,
  file: RawPath,
): Promise<UndoPaths> {
  const link = joinPath(links, baseName(file))
  const found = transactions.flatMap((transaction) => {
    const change = transaction.changes.find(({ path }) => path === file)
    return change ? [{ transaction, change }] : []
  })
  const [only] = found
  // Of several transactions the steps between are not known by what is there now.
  if (found.length !== 1 || only === undefined) return paths
  const { transaction, change } = only
  const choosing = transactions.flatMap((each) => each.changes.find(({ path }) => path === link) ?? [])
  // What somebody else chose in between is no part of any of them.
  if (!choosing.every((newer, at) => isNextTo(newer, choosing[at + 1]))) return paths
  const base = change.after && (await view.contentAfter(transaction, change))
  if (change.after && base === undefined) return paths
  const now = view.now(file)
  const outcome = mergeAlternativeGroup(
    {
      name: baseName(file),
      files: {
        base: textOf(base),
        ours: now?.type === 'file' ? textOf(view.contentNow(file)) : undefined,
        theirs:
          change.before?.type === 'file' ? textOf(await view.contentBefore(transaction, change)) : undefined,
      },
      targets: targetsOf(view.now(link), choosing),
    },
    (path) => {
      const planned = paths.paths.find((each) => each.path === path)
      return (planned ? planned.wanted : view.now(path)) !== undefined
    },
  )
  return outcome.kind === 'conflict' ? paths : withGroup(view, paths, { file, change, outcome })
}

function isNextTo({ before }: RecordedChange, older: RecordedChange | undefined): boolean {
  return older === undefined || before?.linkTarget === older.after?.linkTarget
}

/** Newest first. */
function targetsOf(now: Fingerprint | undefined, choosing: readonly RecordedChange[]) {
  const ours = now?.linkTarget
  const [newest, oldest] = [choosing[0], choosing.at(-1)]
  return newest && oldest
    ? { base: newest.after?.linkTarget, ours, theirs: oldest.before?.linkTarget }
    : { base: ours, ours, theirs: ours }
}

function withGroup(
  view: UndoView,
  paths: UndoPaths,
  {
    file,
    change,
    outcome,
  }: {
    readonly file: RawPath
    readonly change: RecordedChange
    readonly outcome: Extract<AlternativeGroupOutcome, { kind: 'merged' }>
  },
): UndoPaths {
  const states = new Map<RawPath, PlannedPath | undefined>()
  states.set(file, plannedFile(view, file, outcome.file, change))
  for (const { path, target } of outcome.links) states.set(path, plannedLink(view, path, target))
  const others = paths.paths.filter(({ path }) => !states.has(path))
  const own = [...states.values()].filter((planned) => planned !== undefined)
  return {
    ...paths,
    paths: [...others, ...own].toSorted((left, right) => (left.path < right.path ? -1 : 1)),
    conflicts: paths.conflicts.filter(({ path }) => !states.has(path)),
  }
}

/** Undefined where it is as it shall be. */
function plannedFile(
  view: UndoView,
  path: RawPath,
  text: RawText | undefined,
  { before, after }: RecordedChange,
): PlannedPath | undefined {
  const now = view.now(path)
  if (text === undefined) return now && { path, now, wanted: undefined, how: 'merged' }
  const bytes = rawToBytes(text)
  const sha256 = sha256Of(bytes)
  if (now?.sha256 === sha256) return undefined
  const attributes = now ?? before ?? after
  if (attributes === undefined) return undefined
  return {
    path,
    now,
    wanted: { ...attributes, size: bytes.length, sha256 },
    how: 'merged',
    content: { kind: 'bytes', bytes },
  }
}

function plannedLink(view: UndoView, path: RawPath, target: RawText | undefined): PlannedPath | undefined {
  const now = view.now(path)
  // What is no link there is not update-alternatives' own.
  if (now !== undefined && now.type !== 'symlink') return undefined
  if (now?.linkTarget === target) return undefined
  if (target === undefined) return { path, now, wanted: undefined, how: 'merged' }
  return {
    path,
    now,
    wanted: { type: 'symlink', mode: 0o777, uid: 0, gid: 0, mtimeNs: now?.mtimeNs ?? 0n, linkTarget: target },
    how: 'merged',
  }
}

function textOf(bytes: Buffer | undefined): RawText | undefined {
  return bytes && rawFromBytes(bytes)
}
