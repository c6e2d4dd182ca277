// `vml restore --to FILE.tar`: an entry as one archive that any tar unpacks, with no program of ours.
import { randomBytes } from 'node:crypto'
import { link, lstat, open, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { systemErrorCode, VmlError } from '../base/failure.ts'
import { syncFolder } from '../base/files.ts'
import type { Reporter } from '../base/progress.ts'
import { asRaw, printable } from '../base/raw-text.ts'
import type { TreeId } from '../model/ids.ts'
import { isWithin, type RawPath, rootPath } from '../model/raw-path.ts'
import type { Segment, TreeNode } from '../model/tree.ts'
import { isDamage } from '../store/damage.ts'
import type { Repository } from '../store/store.ts'
import { findExtents } from '../wire/tar-sparse.ts'
import { type TarItem, writeTar } from '../wire/tar-write.ts'
import { type DamagedPath, otherLength } from './restore-damage.ts'
import { linkKey } from './restore-links.ts'
import { openTreeReader, requireNode, walkTree } from './tree-reader.ts'

const holedBytesMin = 1024 * 1024

export interface TarRequest {
  readonly repository: Repository
  readonly tree: TreeId
  readonly entryName: string
  /** Only these and what lies below; none means all, VML's documents included. */
  readonly paths: readonly RawPath[]
  readonly without: readonly RawPath[]
  /** On this host; made anew, readable by its owner alone. */
  readonly file: string
  readonly reporter: Reporter
  readonly signal?: AbortSignal | undefined
}

export interface TarReport {
  readonly paths: number
  readonly bytes: number
  /** Not in the archive: the entry's content of them cannot be read. */
  readonly damaged: readonly DamagedPath[]
}

/** Names in the archive are relative (`./home/lab`). Written beside the target and linked to its name: an archive that is there is whole. */
export async function writeEntryTar(request: TarRequest): Promise<TarReport> {
  const counted = { paths: 0, bytes: 0, damaged: [] }
  await requireFree(request.file)
  await requirePaths(request)
  const part = `${request.file}.${randomBytes(6).toString('hex')}.part`
  const file = await open(part, 'wx', 0o600)
  try {
    try {
      for await (const chunk of writeTar(itemsOf(request, counted), {
        sparse: true,
        xattrs: true,
        format: 'gnu-tar',
      })) {
        await file.writeFile(chunk)
      }
      await file.sync()
    } finally {
      await file.close()
    }
    // Unlike a rename, a link never replaces what came there meanwhile.
    await link(part, request.file).catch((error: unknown) => {
      throw systemErrorCode(error) === 'EEXIST' ? exists(request.file) : error
    })
  } finally {
    await unlink(part).catch(() => {})
  }
  await syncFolder(dirname(request.file))
  return counted
}

/** Fails with `exists` where anything has that name: an archive replaces nothing. */
export async function requireFree(file: string): Promise<void> {
  if (await lstat(file).catch(absent)) throw exists(file)
}

async function requirePaths({ repository, tree, paths, entryName, signal }: TarRequest): Promise<void> {
  const reader = openTreeReader(repository, tree, signal)
  for (const path of paths) if (path !== rootPath) await requireNode(reader, path, entryName)
}

function exists(path: string): VmlError {
  return new VmlError('exists', `Cannot write "${path}": it is there`, {
    hint: 'Nothing was changed. Name another file',
  })
}

function absent(error: unknown): undefined {
  if (systemErrorCode(error) !== 'ENOENT') throw error
  return undefined
}

async function* itemsOf(
  request: TarRequest,
  counted: { paths: number; bytes: number; damaged: DamagedPath[] },
): AsyncIterable<TarItem> {
  const { repository, tree, paths, without, reporter, signal } = request
  const links = new Map<string, RawPath>()
  const isWanted = (path: RawPath, isFolder: boolean) =>
    !without.some((each) => isWithin(path, each)) &&
    (paths.length === 0 || paths.some((each) => isWithin(path, each) || (isFolder && isWithin(each, path))))
  const onDamage = (path: RawPath, why: string) => {
    if (isWanted(path, true)) counted.damaged.push({ path, type: 'folder', why })
  }
  for await (const { path, node } of walkTree(repository, tree, { signal, onDamage })) {
    if (!isWanted(path, node.type === 'dir') || node.type === 'socket' || node.type === 'irregular') continue
    const key = linkKey(node)
    const first = key === undefined ? undefined : links.get(key)
    let content: Pick<TarItem, 'extents' | 'segments'> = { segments: none }
    if (node.type === 'file' && first === undefined) {
      try {
        content = await lookThrough(request, node)
      } catch (error) {
        if (!isDamage(error)) throw error
        counted.damaged.push({ path, type: 'file', why: error.message })
        continue
      }
    }
    counted.paths++
    counted.bytes += node.size ?? 0
    reporter.progress({
      phase: 'writing',
      filesDone: counted.paths,
      bytesDone: counted.bytes,
      item: printable(path),
    })
    if (key !== undefined && first === undefined) links.set(key, path)
    yield {
      name: asRaw(`.${path}`),
      attributes: node,
      ...(first === undefined ? {} : { hardLinkTo: asRaw(`.${first}`) }),
      ...content,
    }
  }
}

/** An archive has a file's header, and where its holes are, before the data: both must be right. Small files are held. */
async function lookThrough(
  { repository, signal }: TarRequest,
  { content = [], size = 0 }: TreeNode,
): Promise<Pick<TarItem, 'extents' | 'segments'>> {
  const stored = () => repository.readFile(content, { signal })
  if (size >= holedBytesMin) return { extents: await findExtents(stored()), segments: stored }
  const held: Segment[] = []
  let length = 0
  for await (const segment of stored()) {
    length += segment.kind === 'data' ? segment.bytes.length : segment.length
    held.push(segment.kind === 'hole' ? segment : { kind: 'data', bytes: Buffer.from(segment.bytes) })
  }
  if (length !== size) throw new VmlError('integrity.format', otherLength(length, size))
  return { segments: () => eachOf(held) }
}

async function* eachOf<T>(items: readonly T[]): AsyncIterable<T> {
  yield* items
}

async function* none(): AsyncIterable<Segment> {}
