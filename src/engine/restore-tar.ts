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
import type { Repository } from '../store/store.ts'
import { findExtents } from '../wire/tar-sparse.ts'
import { type TarItem, writeTar } from '../wire/tar-write.ts'
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

/** Names in the archive are relative (`./home/lab`). Written beside the target and linked to its name: an archive that is there is whole. */
export async function writeEntryTar(
  request: TarRequest,
): Promise<{ readonly paths: number; readonly bytes: number }> {
  const counted = { paths: 0, bytes: 0 }
  if (await lstat(request.file).catch(absent)) throw exists(request.file)
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
  counted: { paths: number; bytes: number },
): AsyncIterable<TarItem> {
  const { repository, tree, paths, without, reporter, signal } = request
  const links = new Map<string, RawPath>()
  for await (const { path, node } of walkTree(repository, tree, { signal })) {
    if (without.some((each) => isWithin(path, each))) continue
    const wanted =
      paths.length === 0 ||
      paths.some((each) => isWithin(path, each) || (node.type === 'dir' && isWithin(each, path)))
    if (!wanted || node.type === 'socket' || node.type === 'irregular') continue
    counted.paths++
    counted.bytes += node.size ?? 0
    reporter.progress({
      phase: 'writing',
      filesDone: counted.paths,
      bytesDone: counted.bytes,
      item: printable(path),
    })
    const key = linkKey(node)
    const first = key === undefined ? undefined : links.get(key)
    if (key !== undefined && first === undefined) links.set(key, path)
    const segments = () =>
      node.type === 'file' ? repository.readFile(node.content ?? [], { signal }) : none()
    // Large files are looked through first: an archive names its holes before the data.
    const looked = first === undefined && (node.size ?? 0) >= holedBytesMin
    yield {
      name: asRaw(`.${path}`),
      attributes: node,
      ...(first === undefined ? {} : { hardLinkTo: asRaw(`.${first}`) }),
      ...(looked ? { extents: await findExtents(segments()) } : {}),
      segments,
    }
  }
}

function linkKey(node: TreeNode): string | undefined {
  return node.type !== 'dir' && node.inode !== undefined && (node.links ?? 1) > 1
    ? `${node.deviceId ?? 0n}:${node.inode}`
    : undefined
}

async function* none(): AsyncIterable<Segment> {}
