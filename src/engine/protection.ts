// What `restore --delete` never removes because of what the entry says: what its rules left out, what it could not read,
// other mounts. Asked in paths of the entry's machine.
import { asRaw } from '../base/raw-text.ts'
import type { EntryDocument } from '../model/entry.ts'
import { baseName, isWithin, parentPath, parseRawPath, type RawPath, rootPath } from '../model/raw-path.ts'
import type { TreeNode } from '../model/tree.ts'
import { isDamage } from '../store/damage.ts'
import type { Repository } from '../store/store.ts'
import type { TreeId } from '../model/ids.ts'
import {
  cacheTagName,
  cacheTagSignature,
  type Exclusion,
  type ExclusionRules,
  ignoreFileBytesMax,
  ignoreFileName,
  openExclusion,
} from './exclusion.ts'
import { neverCaptured } from './never-captured.ts'
import { walkTree } from './tree-reader.ts'

export type Protection = (path: RawPath, isFolder: boolean) => string | undefined

export interface ProtectionOptions {
  readonly repository: Repository
  readonly tree: TreeId
  readonly document: EntryDocument
  readonly signal?: AbortSignal | undefined
}

/** Reads the `.vmlignore` files and cache tags of the entry once, then answers for any path. What damage hides is protected. */
export async function openProtection(options: ProtectionOptions): Promise<Protection> {
  const { document } = options
  const home = rawPathOf(document.user.homeRaw) ?? rootPath
  const never = neverCaptured(home, [])
  const roots = document.roots.flatMap(({ raw, why }) => {
    const path = rawPathOf(raw)
    return path === undefined ? [] : [{ path, explicit: why !== 'home' }]
  })
  const { unknown, ...ruleFiles } = await readRuleFiles(options)
  const rules: ExclusionRules = {
    never,
    exclude: document.rules.exclude,
    defaults: document.rules.defaults,
    ...ruleFiles,
  }
  const exclusions = roots
    .sort((a, b) => b.path.length - a.path.length)
    .map(({ path, explicit }) => ({ root: path, exclusion: openExclusion(rules, path, explicit) }))
  const exact = exactPaths(document)
  for (const path of unknown) exact.set(path, 'what the entry says of it cannot be read')
  const rootPaths = new Set(roots.map(({ path }) => path))
  const decided = new Map<RawPath, string | undefined>()

  /** A path is protected when it or a folder above it is. */
  function ruleFor(path: RawPath, isFolder: boolean): string | undefined {
    if (decided.has(path)) return decided.get(path)
    const own = exact.get(path) ?? ruleInRoot(exclusions, path, isFolder)
    // What the user named as a root is in the entry, whatever a rule of the folder around it says.
    const isTop = path === rootPath || rootPaths.has(path)
    const rule = own ?? (isTop ? undefined : ruleFor(parentPath(path), true))
    decided.set(path, rule)
    return rule
  }
  return ruleFor
}

function ruleInRoot(
  exclusions: readonly { root: RawPath; exclusion: Exclusion }[],
  path: RawPath,
  isFolder: boolean,
): string | undefined {
  return exclusions.find(({ root }) => isWithin(path, root))?.exclusion.ruleFor(path, isFolder)
}

function exactPaths(document: EntryDocument): Map<RawPath, string> {
  const exact = new Map<RawPath, string>()
  const add = (raw: string, rule: string) => {
    const path = rawPathOf(raw)
    if (path !== undefined) exact.set(path, rule)
  }
  for (const { raw, rule } of document.excluded) add(raw, rule)
  for (const { raw, type } of document.mounts) add(raw, `another mount (${type})`)
  for (const { raw, problem } of document.problems) {
    if (problem === 'unreadable' || problem === 'dead-mount') add(raw, 'the entry could not read it')
    if (problem === 'socket') add(raw, 'a socket, which no entry holds')
  }
  return exact
}

/** `unknown` are folders that may have rules, or be a cache, and damage hides it. */
async function readRuleFiles(
  options: ProtectionOptions,
): Promise<
  Pick<ExclusionRules, 'ignoreFiles' | 'cacheFolders'> & { readonly unknown: ReadonlySet<RawPath> }
> {
  const ignoreFiles = new Map<RawPath, Uint8Array>()
  const cacheFolders = new Set<RawPath>()
  const unknown = new Set<RawPath>()
  const { repository, tree, signal } = options
  const onDamage = (path: RawPath) => void unknown.add(path)
  for await (const { path, node } of walkTree(repository, tree, { signal, onDamage })) {
    if (node.type !== 'file' || (node.size ?? 0) > ignoreFileBytesMax) continue
    const name = baseName(path)
    if (name !== ignoreFileName && name !== cacheTagName) continue
    const folder = parentPath(path)
    try {
      const content = await contentOf(options, node)
      if (name === ignoreFileName) ignoreFiles.set(folder, content)
      else if (content.toString('latin1').startsWith(cacheTagSignature)) cacheFolders.add(folder)
    } catch (error) {
      if (!isDamage(error)) throw error
      unknown.add(folder)
    }
  }
  return { ignoreFiles, cacheFolders, unknown }
}

async function contentOf({ repository, signal }: ProtectionOptions, node: TreeNode): Promise<Buffer> {
  const parts: Buffer[] = []
  for (const id of node.content ?? []) parts.push(await repository.readBlob(id, { signal }))
  return Buffer.concat(parts)
}

/** A path as `/.vml/entry.json` keeps it: base64 of its bytes. */
export function rawPathOf(base64: string): RawPath | undefined {
  return parseRawPath(asRaw(Buffer.from(base64, 'base64').toString('latin1')))
}
