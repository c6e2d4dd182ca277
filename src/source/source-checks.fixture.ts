// What tests of sources share: the truth as the kernel tells it, trees read whole and written back.
import assert from 'node:assert/strict'
import { lstatSync, readdirSync, type BigIntStats } from 'node:fs'
import { rawFromBytes, rawToBytes } from '../base/raw-text.ts'
import { joinPath, type RawName, type RawPath } from '../model/raw-path.ts'
import type { Attributes, NodeType, Segment } from '../model/tree.ts'
import type { ReadRecord, ScanRecord, Source, WriteItem } from './source.ts'
import { type Bench } from './userlands.fixture.ts'

export async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  return await Array.fromAsync(items)
}

export function typeOf(stat: BigIntStats): NodeType {
  if (stat.isDirectory()) return 'dir'
  if (stat.isSymbolicLink()) return 'symlink'
  if (stat.isFIFO()) return 'fifo'
  if (stat.isSocket()) return 'socket'
  if (stat.isBlockDevice()) return 'dev'
  return stat.isCharacterDevice() ? 'chardev' : 'file'
}

/** Every path below, as the kernel tells it. */
export function truth(root: RawPath): Map<RawPath, BigIntStats> {
  const found = new Map<RawPath, BigIntStats>()
  const visit = (path: RawPath): void => {
    const stat = lstatSync(rawToBytes(path), { bigint: true })
    found.set(path, stat)
    if (!stat.isDirectory()) return
    for (const name of readdirSync(rawToBytes(path), { encoding: 'buffer' }))
      visit(joinPath(path, rawFromBytes(name) as RawName))
  }
  visit(root)
  return found
}

export function assertAttributes(attributes: Attributes, stat: BigIntStats, path: string): void {
  assert.equal(attributes.type, typeOf(stat), path)
  assert.equal(attributes.mode, Number(stat.mode & 0o7777n), path)
  assert.equal(attributes.uid, Number(stat.uid), path)
  assert.equal(attributes.gid, Number(stat.gid), path)
  assert.equal(attributes.mtimeNs, stat.mtimeNs, path)
  assert.equal(attributes.ctimeNs, stat.ctimeNs, path)
  assert.equal(attributes.inode, stat.ino, path)
  assert.equal(attributes.deviceId, stat.dev, path)
  assert.equal(attributes.links, Number(stat.nlink), path)
  assert.equal(attributes.size, stat.isFile() ? Number(stat.size) : undefined, path)
}

export interface Kept {
  readonly record: Extract<ReadRecord, { kind: 'file' }>
  readonly content: Buffer
  readonly segments: readonly Segment[]
}

export async function readAll(
  source: Source,
  paths: readonly RawPath[],
): Promise<{ kept: Map<RawPath, Kept>; problems: string[] }> {
  const kept = new Map<RawPath, Kept>()
  const problems: string[] = []
  for await (const record of source.read(paths)) {
    if (record.kind === 'problem') {
      problems.push(`${record.problem} ${record.path}`)
      continue
    }
    const segments = (await all(record.segments())).map((segment) =>
      segment.kind === 'data' ? { kind: 'data' as const, bytes: Uint8Array.from(segment.bytes) } : segment,
    )
    const content = Buffer.concat(segments.map((s) => (s.kind === 'data' ? s.bytes : Buffer.alloc(s.length))))
    kept.set(record.path, { record, content, segments })
  }
  return { kept, problems }
}

export const itemPaths = (records: readonly ScanRecord[]): RawPath[] =>
  records.filter((record) => record.kind === 'item').map(({ path }) => path)

export function floorTo(ns: bigint, resolution: bigint): bigint {
  const rest = ((ns % resolution) + resolution) % resolution
  return ns - rest
}

export function moved(bench: Bench, path: RawPath, to: string): RawPath {
  return `${bench.path(to)}${path.slice(bench.path('tree').length)}` as RawPath
}

export async function copyTree(bench: Bench, source: Source, to: string): Promise<void> {
  const order = itemPaths(await all(source.scan({ roots: [bench.path('tree')] })))
  const { kept } = await readAll(source, order)
  const items = order.map((path): WriteItem => {
    const file = kept.get(path)
    assert.ok(file, path)
    const { attributes, hardLinkTo } = file.record
    return {
      path: moved(bench, path, to),
      attributes,
      ...(hardLinkTo === undefined ? {} : { hardLinkTo: moved(bench, hardLinkTo, to) }),
      extents: extentsOf(file.segments),
      segments: () => eachOf(file.segments),
    }
  })
  const failures = await source.write(
    eachOf(items.toSorted((a, b) => Number(a.hardLinkTo !== undefined) - Number(b.hardLinkTo !== undefined))),
    [bench.path('')],
  )
  assert.deepEqual(failures, [])
}

export function extentsOf(segments: readonly Segment[]): { offset: number; length: number }[] {
  let offset = 0
  return segments.flatMap((segment) => {
    const length = segment.kind === 'data' ? segment.bytes.length : segment.length
    offset += length
    return segment.kind === 'data' ? [{ offset: offset - length, length }] : []
  })
}

export function fileItem(path: RawPath, text: string, owner = 0): WriteItem {
  const bytes = Buffer.from(text)
  return {
    path,
    attributes: {
      type: 'file',
      mode: 0o644,
      uid: owner,
      gid: owner,
      mtimeNs: 1_000_000_000n,
      size: bytes.length,
    },
    segments: () => eachOf([{ kind: 'data', bytes }]),
  }
}

export const noSegments = (): AsyncIterable<Segment> => eachOf([])
export const itemsOf = (items: readonly WriteItem[]): AsyncIterable<WriteItem> => eachOf(items)

export async function* eachOf<T>(items: readonly T[]): AsyncIterable<T> {
  yield* items
}
