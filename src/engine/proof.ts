// Proof after a change: what is there is read back and compared with what the entry says.
import { createHash, type Hash } from 'node:crypto'
import type { Reporter } from '../base/progress.ts'
import { printable } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { Attributes, Segment, TreeNode, Xattr } from '../model/tree.ts'
import type { Fidelity } from '../model/entry.ts'
import type { Source } from '../source/source.ts'
import type { Repository } from '../store/store.ts'
import { sameTime } from './unchanged.ts'

export interface Expected {
  readonly attributes: Attributes
  /** Of regular files: SHA-256 of the content, lower-case hex. */
  readonly sha256?: () => Promise<string> | string
  /** A folder that was there before: an archive adds attributes to it and takes none away. */
  readonly standing?: boolean
}

export interface ProofQuestion {
  readonly source: Source
  readonly expected: ReadonlyMap<RawPath, Expected>
  readonly absent: readonly RawPath[]
  readonly owners: boolean
  readonly reporter: Reporter
  readonly signal?: AbortSignal | undefined
}

export interface ProofReport {
  /** Paths that were read back. */
  readonly checked: number
  /** Of these, files whose content was hashed on the target. */
  readonly contents: number
  /** Bytes hashed there. */
  readonly bytes: number
  readonly absent: number
  /** Empty when all is as the entry says. */
  readonly differences: readonly { readonly path: RawPath; readonly what: string }[]
}

/** GNU tar gives links their own times, busybox does not; the same tar keeps holes. */
export function keepsLinkTimes(fidelity: Fidelity): boolean {
  return fidelity.sparse
}

/** Compares what was recorded, at the resolution the target can tell; it changes nothing. */
export async function prove(question: ProofQuestion): Promise<ProofReport> {
  const { source, expected, absent, signal } = question
  const differences: { path: RawPath; what: string }[] = []
  const unseen = new Set(expected.keys())
  for await (const record of source.stat([...expected.keys()], signal)) {
    if (record.kind === 'mount') continue
    const wish = expected.get(record.path)
    if (!wish || !unseen.delete(record.path)) continue
    if (record.kind === 'problem') differences.push({ path: record.path, what: `is ${record.problem}` })
    else
      for (const what of attributeDifferences(wish.attributes, record.attributes, question))
        differences.push({ path: record.path, what })
  }
  for (const path of unseen) differences.push({ path, what: 'could not be looked at' })
  const contents = await proveContents(question, differences)
  await proveXattrs(question, differences)
  differences.push(...(await proveAbsent(question)))
  return { checked: expected.size, ...contents, absent: absent.length, differences }
}

/** Of what should be gone; what was written there since is proven as that. */
export async function proveAbsent({
  source,
  absent,
  expected,
  signal,
}: Pick<ProofQuestion, 'source' | 'absent' | 'signal'> & {
  readonly expected: Pick<ReadonlySet<RawPath>, 'has'>
}): Promise<{ path: RawPath; what: string }[]> {
  if (absent.length === 0) return []
  const differences: { path: RawPath; what: string }[] = []
  for await (const record of source.stat(absent, signal)) {
    if (record.kind === 'mount' || expected.has(record.path)) continue
    if (record.kind === 'item') differences.push({ path: record.path, what: 'is still there' })
    else if (record.problem !== 'vanished')
      differences.push({ path: record.path, what: 'cannot be looked at, so it may still be there' })
  }
  return differences
}

export function attributeDifferences(
  wish: Attributes,
  found: Attributes,
  { owners, source }: Pick<ProofQuestion, 'owners' | 'source'>,
): string[] {
  const differences: string[] = []
  if (wish.type !== found.type) return [`is a ${found.type}, not a ${wish.type}`]
  if (wish.type === 'symlink') {
    if (wish.linkTarget !== found.linkTarget && found.linkTarget !== undefined) {
      differences.push(`points to "${printable(found.linkTarget)}"`)
    }
  } else if (wish.mode !== found.mode)
    differences.push(`has mode ${found.mode.toString(8)}, not ${wish.mode.toString(8)}`)
  if (owners && (wish.uid !== found.uid || wish.gid !== found.gid)) {
    differences.push(`belongs to ${found.uid}:${found.gid}, not ${wish.uid}:${wish.gid}`)
  }
  if (wish.type === 'file' && wish.size !== found.size)
    differences.push(`has ${found.size} bytes, not ${wish.size}`)
  const resolution = BigInt(Math.max(source.fidelity.timeResolutionNs, 1))
  if (
    (wish.type !== 'symlink' || keepsLinkTimes(source.fidelity)) &&
    !sameTime(wish.mtimeNs, found.mtimeNs, resolution)
  ) {
    differences.push(`has another time, by ${found.mtimeNs - wish.mtimeNs} ns`)
  }
  return differences
}

async function proveContents(
  { source, expected, reporter, signal }: ProofQuestion,
  differences: { path: RawPath; what: string }[],
): Promise<{ contents: number; bytes: number }> {
  const files = [...expected].filter(([, wish]) => wish.sha256 !== undefined).map(([path]) => path)
  const unseen = new Set(files)
  let contents = 0
  let bytes = 0
  if (files.length === 0) return { contents, bytes }
  for await (const { path, sha256 } of source.digest(files, signal)) {
    const wish = expected.get(path)
    if (!wish || !unseen.delete(path)) continue
    contents++
    bytes += wish.attributes.size ?? 0
    reporter.progress({ phase: 'proving', filesDone: contents, filesTotal: files.length })
    if (sha256 === undefined) differences.push({ path, what: 'cannot be read back' })
    else if (sha256 !== (await wish.sha256?.())) differences.push({ path, what: 'has other content' })
  }
  for (const path of unseen) differences.push({ path, what: 'was not read back' })
  return { contents, bytes }
}

/**
 * Extended attributes and device numbers are only told by the archive program, so the few paths that have some are
 * read back through it.
 */
async function proveXattrs(
  { source, expected, signal }: ProofQuestion,
  differences: { path: RawPath; what: string }[],
): Promise<void> {
  const { xattrs, acls } = source.fidelity
  const unseen = new Set(
    [...expected].filter(([, wish]) => isToldByArchive(wish, xattrs || acls)).map(([path]) => path),
  )
  if (unseen.size === 0) return
  for await (const record of source.read([...unseen], signal)) {
    const wish = expected.get(record.path)?.attributes
    if (!wish || record.kind !== 'file') continue
    if (record.attributes.type === 'file') for await (const _ of record.segments());
    unseen.delete(record.path)
    if (record.hardLinkTo !== undefined) continue
    for (const what of archiveDifferences(wish, record.attributes, source.fidelity))
      differences.push({ path: record.path, what })
  }
  const named = new Set(differences.map(({ path }) => path))
  for (const path of unseen)
    if (!named.has(path)) differences.push({ path, what: 'was not read back with its attributes' })
}

/** Of what only an archive tells. */
export function archiveDifferences(
  wish: Attributes,
  found: Attributes,
  { xattrs, acls }: Pick<Fidelity, 'xattrs' | 'acls'>,
): string[] {
  const differences: string[] = []
  if (wish.device !== undefined && wish.device !== found.device) differences.push('is another device')
  if (!xattrs && !acls) return differences
  const present = comparable(found.xattrs ?? [])
  const wanted = comparable(wish.xattrs ?? [])
  for (const [name, value] of wanted)
    if (present.get(name) !== value) differences.push(`lacks the attribute ${name}`)
  for (const name of present.keys())
    if (!wanted.has(name) && !ofTheSystem.test(name)) differences.push(`has the attribute ${name} too`)
  return differences
}

/** Given to every file by the machine itself. */
const ofTheSystem = /^security\.selinux$/

export function isToldByArchive({ attributes, standing = false }: Expected, archiveTells: boolean): boolean {
  const { type, xattrs = [] } = attributes
  return type === 'dev' || type === 'chardev' || (archiveTells && (standing || xattrs.length > 0))
}

function comparable(xattrs: readonly Xattr[]): Map<string, string> {
  return new Map(xattrs.map(({ name, value }) => [printable(name), Buffer.from(value).toString('hex')]))
}

/** SHA-256 of a file's whole content. One blob's id is just that (restic's ids are SHA-256 of the plain content). */
export async function contentDigest(
  repository: Repository,
  node: TreeNode,
  signal?: AbortSignal,
): Promise<string> {
  const [first, ...more] = node.content ?? []
  if (first !== undefined && more.length === 0) return first
  return await digestSegments(repository.readFile(node.content ?? [], { signal }))
}

const zeros = Buffer.alloc(64 * 1024)

export async function digestSegments(segments: AsyncIterable<Segment>): Promise<string> {
  const hash = createHash('sha256')
  for await (const segment of segments) hashSegment(hash, segment)
  return hash.digest('hex')
}

export function hashSegment(hash: Hash, segment: Segment): void {
  if (segment.kind === 'data') hash.update(segment.bytes)
  else
    for (let left = segment.length; left > 0; left -= zeros.length)
      hash.update(zeros.subarray(0, Math.min(left, zeros.length)))
}
