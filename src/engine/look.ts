// Looking into entries: which one is meant, what stands in it, its folders and files.
import { VmlError } from '../base/failure.ts'
import { printable } from '../base/raw-text.ts'
import type { EntryDocument } from '../model/entry.ts'
import { parseEntryPath, resolveEntry } from '../model/entry-reference.ts'
import type { LostPath } from '../model/lost.ts'
import { isWithin, joinPath, rootPath, type RawPath } from '../model/raw-path.ts'
import type { PackageSet } from '../model/packages.ts'
import type { RawText } from '../base/raw-text.ts'
import type { Segment, TreeNode } from '../model/tree.ts'
import type { Repository } from '../store/store.ts'
import {
  type EntriesOptions,
  entryName,
  entryWord,
  type LoggedEntry,
  type OpenLogbook,
  readEntryDocument,
  readLost,
  readVmlFile,
} from './entries.ts'
import { chooseProven } from './proven-entries.ts'
import { openTreeReader, requireNode, type WalkedNode, walkTree } from './tree-reader.ts'
import { vmlPath } from './vml-path.ts'

export interface EntryAt {
  readonly entry: LoggedEntry
  readonly path: RawPath | undefined
}

/** The entry (and path in it) that a person named, as its snapshot file has it. */
export async function findEntry(
  logbook: OpenLogbook,
  typed: string,
  options: EntriesOptions = {},
): Promise<EntryAt> {
  const { entry: reference, typed: entryTyped, path } = parseEntryPath(typed)
  const choose = (entries: readonly LoggedEntry[]) => resolveEntry(entries, reference, entryTyped)
  const proof = { ...options, damaged: 'warn', entriesOf: (entry: LoggedEntry) => [entry] } as const
  return { entry: await chooseProven(logbook, choose, proof), path }
}

export interface EntryDetails {
  readonly entry: LoggedEntry
  /** Undefined for a snapshot of another program. */
  readonly document: EntryDocument | undefined
  readonly packages: PackageSet | undefined
  readonly variables: ReadonlyMap<RawText, RawText> | undefined
  /** What damage took from the entry, as a repair found it. */
  readonly lost: readonly LostPath[]
}

export async function describeEntryFully(
  repository: Repository,
  entry: LoggedEntry,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<EntryDetails> {
  const { snapshot } = entry
  const document = await readEntryDocument(repository, snapshot, options)
  const lost = await readLost(repository, snapshot, options)
  if (!document) return { entry, document, packages: undefined, variables: undefined, lost }
  const { parseEnvironment, parsePackages } = await import('../model/documents.ts')
  const packages = await readVmlFile(repository, snapshot, 'packages.json', options)
  const environment = await readVmlFile(repository, snapshot, 'environment.json', options)
  return {
    entry,
    document,
    packages: packages && parsePackages(packages),
    variables: environment && parseEnvironment(environment),
    lost,
  }
}

/** A file or link itself, or what is in a folder (with everything below where asked). VML's own folder shows only when it is named. */
export async function* listPath(
  repository: Repository,
  { entry, path = rootPath }: { readonly entry: LoggedEntry; readonly path?: RawPath | undefined },
  options: { readonly recursive: boolean; readonly signal?: AbortSignal | undefined },
): AsyncIterable<WalkedNode> {
  const { signal } = options
  const visible = (at: RawPath) => !isWithin(at, vmlPath) || isWithin(path, vmlPath)
  const subtree = await subtreeAt(repository, { entry, path }, signal)
  if ('node' in subtree) {
    yield { path, node: subtree.node }
    return
  }
  if (!options.recursive) {
    for (const node of await repository.readTree(subtree.tree, { signal })) {
      const at = joinPath(path, node.name)
      if (visible(at)) yield { path: at, node }
    }
    return
  }
  for await (const walked of walkTree(repository, subtree.tree, { at: path, signal, enter: visible }))
    if (visible(walked.path)) yield walked
}

/** The content of a regular file. */
export async function readPath(
  repository: Repository,
  { entry, path }: { readonly entry: LoggedEntry; readonly path: RawPath },
  signal?: AbortSignal,
): Promise<AsyncIterable<Segment>> {
  const node = await requireNode(
    openTreeReader(repository, entry.snapshot.tree, signal),
    path,
    entryName(entry),
  )
  if (node.type !== 'file')
    throw new VmlError(
      'usage',
      `Cannot print "${printable(path)}" of ${entryName(entry)}: it is no regular file but of type ${node.type}`,
      {
        hint:
          node.type === 'dir'
            ? `See what is in it: vml ls ${entryWord(entry)}:${printable(path)}`
            : 'See it with vml ls --long',
      },
    )
  return repository.readFile(node.content ?? [], { signal })
}

async function subtreeAt(
  repository: Repository,
  { entry, path }: { readonly entry: LoggedEntry; readonly path: RawPath },
  signal: AbortSignal | undefined,
): Promise<{ readonly tree: LoggedEntry['snapshot']['tree'] } | { readonly node: TreeNode }> {
  const { tree } = entry.snapshot
  if (path === rootPath) return { tree }
  const node = await requireNode(openTreeReader(repository, tree, signal), path, entryName(entry))
  return node.type === 'dir' && node.subtree !== undefined ? { tree: node.subtree } : { node }
}
