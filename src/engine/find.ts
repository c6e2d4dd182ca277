// In which entries a path existed, and when it changed. A subtree that stands unchanged in many entries is read once.
import { holdsPathsOnly } from '../model/entry.ts'
import { type RawText, rawFromString } from '../base/raw-text.ts'
import type { NotCompared } from '../model/compare.ts'
import { unescapeTyped } from '../model/entry-reference.ts'
import type { TreeId } from '../model/ids.ts'
import { baseName, isWithin, joinPath, parseRawPath, type RawPath, rootPath } from '../model/raw-path.ts'
import type { TreeNode } from '../model/tree.ts'
import { isDamage } from '../store/damage.ts'
import type { Repository } from '../store/store.ts'
import { compilePattern } from './glob.ts'
import { type CompareScope, scopeOf, whyUnknown } from './compare-side.ts'
import { type LoggedEntry, lostTag, readEntryDocument, readLost } from './entries.ts'
import { vmlPath } from './vml-path.ts'

export interface FoundVersion {
  /** Undefined: the path was not there, though the entry covers its place; or see `unknown`. */
  readonly node: TreeNode | undefined
  /** Why these entries, which do not have the path, do not tell that it was not there. */
  readonly unknown: Unknown | undefined
  /** The entries in a row that have the path so, oldest first. */
  readonly entries: readonly LoggedEntry[]
}

type Unknown = Exclude<NotCompared['reason'], 'not included'>
type Version = Omit<FoundVersion, 'entries'> & { readonly entries: LoggedEntry[] }
type Histories = Map<RawPath, Version[]>

export interface FoundPath {
  readonly machine: string
  readonly path: RawPath
  /** Oldest first; neighbours differ. */
  readonly versions: readonly FoundVersion[]
}

interface Match {
  readonly path: RawPath
  readonly node: TreeNode
}

/**
 * A pattern with a slash is compared with whole paths (`**` crosses folders), one without with names. Entries come
 * oldest first; a safety entry tells what was there but never what was not.
 */
export async function findPaths(
  repository: Repository,
  entries: readonly LoggedEntry[],
  pattern: string,
  signal?: AbortSignal,
): Promise<FoundPath[]> {
  const matches = compilePattern(rawFromString(pattern))
  const found: FoundPath[] = []
  const machines = new Set(entries.map((entry) => entry.machine))
  for (const machine of [...machines].sort()) {
    const search = openSearch(repository, matches, signal)
    const histories: Histories = new Map()
    for (const entry of entries.filter((each) => each.machine === machine)) {
      const here = new Map(
        (await search(entry.snapshot.tree, rootPath)).map((match) => [match.path, match.node]),
      )
      // As printable() wrote them.
      const roots = entry.snapshot.paths.flatMap((root) => parseRawPath(unescapeTyped(root)) ?? [])
      const scope = openScope(repository, entry, signal)
      const lost = await lostMatches(entry, scope, matches)
      for (const path of new Set([...histories.keys(), ...here.keys(), ...lost])) {
        const node = here.get(path)
        if (node !== undefined) {
          note(histories, { path, node, unknown: undefined }, entry)
          continue
        }
        const covered = !holdsPathsOnly(entry.kind) && roots.some((root) => isWithin(path, root))
        const why = lost.has(path)
          ? 'lost'
          : covered && !wasGone(histories.get(path))
            ? whyUnknown(await scope(), path)
            : undefined
        if (why === 'not included' || (why === undefined && !covered)) continue
        note(histories, { path, node, unknown: why }, entry)
      }
    }
    for (const [path, versions] of [...histories].sort(([left], [right]) => (left < right ? -1 : 1)))
      found.push({ machine, path, versions })
  }
  return found
}

/** Then no document is read to ask why it still is not there. */
function wasGone(versions: readonly Version[] | undefined): boolean {
  const last = versions?.at(-1)
  return last !== undefined && last.node === undefined && last.unknown === undefined
}

/** What an entry looked at, read when it is asked for first. */
function openScope(
  repository: Repository,
  { snapshot }: LoggedEntry,
  signal: AbortSignal | undefined,
): () => Promise<CompareScope> {
  const read = async () => {
    try {
      const document = await readEntryDocument(repository, snapshot, { signal })
      return scopeOf(document, await readLost(repository, snapshot, { signal }))
    } catch (error) {
      if (!isDamage(error)) throw error
      // Such an entry tells of nothing that it does not have.
      return { roots: [], excluded: nothing, unreadable: nothing, mounts: nothing }
    }
  }
  let scope: Promise<CompareScope> | undefined
  return () => (scope ??= read())
}

const nothing: ReadonlySet<RawPath> = new Set()

/** Only an entry that a repair wrote anew has lost something. */
async function lostMatches(
  { snapshot }: LoggedEntry,
  scope: () => Promise<CompareScope>,
  matches: (path: RawPath, name: RawText) => boolean,
): Promise<ReadonlySet<RawPath>> {
  if (!snapshot.tags.includes(lostTag)) return nothing
  const { lost = nothing } = await scope()
  return new Set([...lost].filter((path) => !isWithin(path, vmlPath) && matches(path, baseName(path))))
}

function note(
  histories: Histories,
  { path, node, unknown }: Pick<FoundVersion, 'node' | 'unknown'> & Pick<Match, 'path'>,
  entry: LoggedEntry,
): void {
  const versions = histories.get(path) ?? []
  const last = versions.at(-1)
  if (last && last.unknown === unknown && sameVersion(last.node, node)) last.entries.push(entry)
  else versions.push({ node, unknown, entries: [entry] })
  histories.set(path, versions)
}

/** A touch alone is no change; for a folder, what is in it is not either. */
function sameVersion(left: TreeNode | undefined, right: TreeNode | undefined): boolean {
  if (left === undefined || right === undefined) return left === right
  return (
    left.type === right.type &&
    left.mode === right.mode &&
    left.uid === right.uid &&
    left.gid === right.gid &&
    left.linkTarget === right.linkTarget &&
    left.size === right.size &&
    (left.content ?? []).join() === (right.content ?? []).join()
  )
}

function openSearch(
  repository: Repository,
  matches: (path: RawPath, name: RawText) => boolean,
  signal: AbortSignal | undefined,
): (tree: TreeId, at: RawPath) => Promise<readonly Match[]> {
  // The same subtree at the same place has the same matches, in every entry.
  const known = new Map<string, readonly Match[]>()
  return async function search(tree, at) {
    const key = `${tree}${at}`
    const before = known.get(key)
    if (before) return before
    const found: Match[] = []
    for (const node of await repository.readTree(tree, { signal })) {
      const path = joinPath(at, node.name)
      if (path === vmlPath) continue
      if (matches(path, baseName(path))) found.push({ path, node })
      if (node.subtree !== undefined) found.push(...(await search(node.subtree, path)))
    }
    known.set(key, found)
    return found
  }
}
