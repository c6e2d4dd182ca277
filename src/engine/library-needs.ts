// Finds which shared libraries the programs of an entry need and the entry itself does not bring.
import { asRaw, type RawText } from '../base/raw-text.ts'
import { type ElfFacts, isElf, type RangeReader, readElf } from '../model/elf.ts'
import { vmlFolder } from '../model/entry.ts'
import type { BlobId, TreeId } from '../model/ids.ts'
import { libraryKey, type LibraryNeed } from '../model/libraries.ts'
import { compareRaw, isRawName, joinPath, parentPath, parseRawPath, type RawPath } from '../model/raw-path.ts'
import type { TreeNode } from '../model/tree.ts'
import type { FileOwner } from '../model/version-report.ts'
import type { Repository } from '../store/store.ts'
import { openTreeReader, type TreeReader, type WalkedNode, walkTree } from './tree-reader.ts'

/** How many programs are looked at, and how much of the repository is read for it; then the result is incomplete. */
const programsMax = 20_000
const readBytesMax = 1024 * 1024 * 1024
const neededByMax = 5
const foldersMax = 32
const linksMax = 32

export interface EntryNeeds {
  readonly needs: readonly LibraryNeed[]
  /** False where there were more programs than are looked at. */
  readonly complete: boolean
  /** Of all files, with their names; most files first. */
  readonly owners: readonly FileOwner[]
}

export interface NeedsRequest {
  readonly repository: Repository
  readonly tree: TreeId
  /** What is in the tree, where it is at hand; else it is read. */
  readonly files?: Iterable<WalkedNode> | AsyncIterable<WalkedNode>
  /** For `LD_LIBRARY_PATH`. */
  readonly environment?: ReadonlyMap<RawText, RawText>
  readonly signal?: AbortSignal | undefined
}

interface Program {
  readonly path: RawPath
  readonly elf: ElfFacts
}

export async function findLibraryNeeds(request: NeedsRequest): Promise<EntryNeeds> {
  const { repository, tree, signal } = request
  const files = request.files ?? walkTree(repository, tree, { signal, enter: isOfMachine })
  const owners = new Map<string, { uid: number; name: RawText; files: number }>()
  const programs: Program[] = []
  const budget = { bytes: readBytesMax, programs: programsMax, complete: true }
  for await (const { path, node } of files) {
    if (!isOfMachine(path)) continue
    countOwner(owners, node)
    if (!mayBeProgram(node)) continue
    const elf = await readProgram(repository, node, budget, signal)
    if (elf) programs.push({ path, elf })
  }
  const needs = await unmet(request, programs)
  const byFiles = [...owners.values()].toSorted((a, b) => b.files - a.files || a.uid - b.uid)
  return { needs, complete: budget.complete, owners: byFiles }
}

function isOfMachine(path: RawPath): boolean {
  return path !== vmlFolder && !path.startsWith(`${vmlFolder}/`)
}

function countOwner(
  owners: Map<string, { uid: number; name: RawText; files: number }>,
  node: TreeNode,
): void {
  const { uid, user: name = asRaw('') } = node
  const key = `${uid} ${name}`
  const owner = owners.get(key)
  if (owner) owner.files++
  else owners.set(key, { uid, name, files: 1 })
}

export function mayBeProgram({
  type,
  mode,
  name,
  size = 0,
}: Pick<TreeNode, 'type' | 'mode' | 'name' | 'size'>): boolean {
  return type === 'file' && size >= 52 && ((mode & 0o111) !== 0 || /\.so(?:\.|$)/.test(name))
}

async function readProgram(
  repository: Repository,
  node: TreeNode,
  budget: { bytes: number; programs: number; complete: boolean },
  signal: AbortSignal | undefined,
): Promise<ElfFacts | undefined> {
  if (budget.bytes <= 0 || budget.programs-- <= 0) {
    budget.complete = false
    return undefined
  }
  const read = storedRanges(repository, node.content ?? [], (bytes) => (budget.bytes -= bytes), signal)
  return isElf(await read(0, 4)) ? await readElf(node.size ?? 0, read) : undefined
}

/** Reads only the blobs that a range touches; the last ones stay at hand. */
function storedRanges(
  repository: Repository,
  content: readonly BlobId[],
  spend: (bytes: number) => void,
  signal: AbortSignal | undefined,
): RangeReader {
  const blobs = new Map<number, Buffer>()
  const lengths: number[] = []
  async function blob(index: number, id: BlobId): Promise<Buffer> {
    const known = blobs.get(index)
    if (known) return known
    const bytes = await repository.readBlob(id, { signal })
    spend(bytes.length)
    if (blobs.size >= 4) blobs.clear()
    blobs.set(index, bytes)
    return bytes
  }
  return async (offset, length) => {
    const parts: Buffer[] = []
    let start = 0
    for (const [index, id] of content.entries()) {
      if (start >= offset + length) break
      const size = (lengths[index] ??= await repository.blobLength('data', id))
      if (start + size > offset) {
        const bytes = await blob(index, id)
        parts.push(bytes.subarray(Math.max(0, offset - start), Math.min(size, offset + length - start)))
      }
      start += size
    }
    return parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts)
  }
}

async function unmet(request: NeedsRequest, programs: readonly Program[]): Promise<LibraryNeed[]> {
  const reader = openTreeReader(request.repository, request.tree, request.signal)
  const searched = (request.environment?.get(asRaw('LD_LIBRARY_PATH')) ?? '')
    .split(':')
    .flatMap((text) => normal(text))
  const needs = new Map<string, LibraryNeed & { folders: RawPath[]; neededBy: RawPath[]; programs: number }>()
  for (const { path, elf } of programs.toSorted((a, b) => compareRaw(a.path, b.path))) {
    const runpath = elf.runpath.flatMap((text) => normal(expandOrigin(text, parentPath(path))))
    for (const soname of new Set(elf.needed)) {
      if (!isRawName(soname)) continue
      // A library beside the program is found where its loader has it in memory already, as in Python's wheels.
      const folders = [...runpath, ...searched, parentPath(path)]
      if (
        await isBrought(
          reader,
          folders.map((folder) => joinPath(folder, soname)),
        )
      )
        continue
      const key = libraryKey({ soname, bits: elf.bits, machine: elf.machine })
      let need = needs.get(key)
      if (need === undefined) {
        need = { soname, bits: elf.bits, machine: elf.machine, folders: [], neededBy: [], programs: 0 }
        needs.set(key, need)
      }
      need.programs++
      if (need.neededBy.length < neededByMax) need.neededBy.push(path)
      for (const folder of [...runpath, ...searched])
        if (need.folders.length < foldersMax && !need.folders.includes(folder)) need.folders.push(folder)
    }
  }
  return [...needs.values()].toSorted((a, b) => compareRaw(a.soname, b.soname))
}

function expandOrigin(text: RawText, folder: RawPath): RawText {
  return asRaw(text.replaceAll(/\$ORIGIN|\$\{ORIGIN\}/g, () => folder))
}

/** The path without `..`, as far as it can be told without looking; none for what is not absolute. */
function normal(text: string): RawPath[] {
  if (!text.startsWith('/')) return []
  const parts: string[] = []
  for (const part of text.split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '' && part !== '.') parts.push(part)
  }
  const path = parseRawPath(asRaw(`/${parts.join('/')}`))
  return path === undefined ? [] : [path]
}

async function isBrought(reader: TreeReader, candidates: readonly RawPath[]): Promise<boolean> {
  for (const candidate of candidates) if (await leadsToFile(reader, candidate)) return true
  return false
}

/** Follows links inside the entry; one that leads out of it brings nothing. */
async function leadsToFile(reader: TreeReader, path: RawPath): Promise<boolean> {
  let at = path
  for (let links = 0; links < linksMax; links++) {
    const step = await firstLink(reader, at)
    if (step.node === undefined) return false
    if (step.node.type === 'file') return true
    if (step.node.type !== 'symlink' || step.node.linkTarget === undefined) return false
    const { linkTarget } = step.node
    const base = linkTarget.startsWith('/') ? '' : parentPath(step.path)
    const [next] = normal(`${base}/${linkTarget}${at.slice(step.path.length)}`)
    if (next === undefined) return false
    at = next
  }
  return false
}

/** The first component that is a link, or the node of the whole path. */
async function firstLink(
  reader: TreeReader,
  path: RawPath,
): Promise<{ path: RawPath; node: TreeNode | undefined }> {
  const node = await reader.node(path)
  if (node !== undefined) return { path, node }
  for (let at = parentPath(path); at !== '/'; at = parentPath(at)) {
    const above = await reader.node(at)
    if (above !== undefined) return { path: at, node: above.type === 'symlink' ? above : undefined }
  }
  return { path, node: undefined }
}
