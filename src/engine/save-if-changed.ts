// A save that makes no entry where it would change nothing (requirement T2).
import type { PathProblem } from '../model/entry.ts'
import type { RawPath } from '../model/raw-path.ts'
import { survey, type Survey } from './capture.ts'
import { findRealPaths } from '../source/real-paths.ts'
import { compareEntries } from './compare.ts'
import { readContent, type SameContent } from './compare-content.ts'
import { entrySide } from './compare-side.ts'
import { entryName, type LoggedEntry } from './entries.ts'
import { describeEntryFully } from './look.ts'
import { sideNow } from './now.ts'
import { rawPathOf } from './protection.ts'
import {
  lookForSave,
  type Saved,
  type SaveBase,
  type SaveLook,
  saveLooked,
  type SaveParts,
  type SaveRequest,
} from './save.ts'

export interface Unchanged {
  readonly kind: 'unchanged'
  /** The entry that says how the machine still is. */
  readonly since: LoggedEntry
}

/**
 * Looks, and compares as `vml status` does: files, attributes and times, packages, variables, facts. Where anything differs, where something
 * else is asked for than the entry before answered, or where there is none, it saves what it has seen: the machine is looked at once.
 */
export async function saveIfChanged(parts: SaveParts, request: SaveRequest): Promise<Saved | Unchanged> {
  const { base } = parts
  const looked = await lookForSave(parts, request)
  if (
    base &&
    request.mode !== 'full' &&
    (await asksTheSame(parts, request, base)) &&
    (await isAsBefore(parts, base, looked))
  )
    return { kind: 'unchanged', since: base.entry }
  // What of the base is still stored is decided under this lock.
  await using writer = await parts.repository.beginWrite({ signal: parts.signal })
  return await saveLooked(parts, request, looked, writer)
}

async function isAsBefore(
  parts: SaveParts,
  base: SaveBase,
  { run, packages: packagesNow }: SaveLook,
): Promise<boolean> {
  const { open, repository, signal } = parts
  const found = await survey(run)
  if (!(await hasSameGaps(parts, base, found))) return false
  const { document, packages, variables } = await describeEntryFully(repository, base.entry, { signal })
  const left = entrySide({
    label: entryName(base.entry),
    repository,
    tree: base.entry.snapshot.tree,
    signal,
    ...(document ? { document } : {}),
    ...(packages ? { packages } : {}),
    ...(variables ? { environment: variables } : {}),
  })
  const { identical } = await compareEntries({
    left,
    right: sideNow({ open, base, survey: found, packages: packagesNow }),
    times: true,
    sameContent: mayAskDigests(found)
      ? readContent({ repository, source: open.source, signal })
      : nothingIsTheSame,
    repository,
    signal,
  })
  return identical
}

/** Whether the entry before answers the question that is asked now: the same folders, by their real names, and the same rules. */
async function asksTheSame(
  { open, signal }: SaveParts,
  request: SaveRequest,
  { entry, document }: SaveBase,
): Promise<boolean> {
  const wanted = new Set(
    await findRealPaths(
      open.shell,
      [...request.include, ...request.only, ...request.caches.map(({ path }) => path)],
      signal,
    ),
  )
  const roots = document.roots.flatMap(({ raw, why }) => {
    const path = rawPathOf(raw)
    return path === undefined ? [] : [{ path, why }]
  })
  const isOnly = roots.some(({ why }) => why === 'only')
  return (
    entry.project === request.project &&
    [...wanted].every((path) => roots.some((root) => root.path === path)) &&
    roots.every(({ path, why }) => why === 'home' || wanted.has(path)) &&
    isOnly === request.only.length > 0 &&
    sameSet(request.exclude, document.rules.exclude) &&
    sameSet(
      request.caches.map(({ name }) => name),
      document.caches.map(({ name }) => name),
    )
  )
}

function sameSet(left: readonly string[], right: readonly string[]): boolean {
  const there = new Set(right)
  return new Set(left).size === there.size && left.every((item) => there.has(item))
}

/**
 * What could not be read then must still be so: nothing else tells that it can be kept now. And what cannot be looked into now, but could
 * be then, is news too.
 */
async function hasSameGaps(
  { open, signal }: SaveParts,
  { document }: SaveBase,
  survey: Survey,
): Promise<boolean> {
  const then = gapsOf(document.problems)
  const now = gapsOf(survey.problems)
  for (const path of now) if (!then.has(path)) return false
  const doubtful = [...then].filter((path) => !now.has(path) && survey.files.has(path))
  const files = doubtful.filter((path) => survey.files.get(path)?.attributes.type === 'file')
  if (files.length < doubtful.length) return false
  for await (const { sha256 } of open.source.digest(files, signal)) if (sha256 !== undefined) return false
  return true
}

function gapsOf(problems: readonly PathProblem[]): ReadonlySet<RawPath> {
  const lasting = problems.filter(({ problem }) => problem !== 'vanished' && problem !== 'changed-while-read')
  return new Set(lasting.flatMap(({ raw }) => rawPathOf(raw) ?? []))
}

/** Above this, a save that keeps what it reads is the better way to find out: the next look knows it again. */
const digestBytesMax = 256 * 1024 * 1024

function mayAskDigests({ changed, files }: Survey): boolean {
  let bytes = 0
  for (const path of changed) bytes += files.get(path)?.attributes.size ?? 0
  return bytes <= digestBytesMax
}

const nothingIsTheSame: SameContent = (pairs) => Promise.resolve(pairs.map(() => false))
