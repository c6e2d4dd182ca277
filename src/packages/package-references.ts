// Which pre-images of a transaction can be had again from packages: asked, looked into and compared before it is said.
import { createHash } from 'node:crypto'
import type { PackageOrigin } from '../model/package-record.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { PathChange, PreImage } from '../model/transaction.ts'
import type { Shell } from '../wire/shell.ts'
import { versionKey } from './dpkg-records.ts'
import { readPackageFiles } from './package-files.ts'
import type { FoundPackage, PackageSources } from './package-sources.ts'
import type { SourcedFile, SourcedFiles } from './package-system.ts'

export type Reference = Extract<PreImage, { kind: 'reference' }>

export interface ReferenceInquiry {
  readonly changes: Iterable<PathChange>
  /** As it was before the transaction. */
  readonly files: SourcedFiles
  readonly sources: PackageSources
  readonly shell: Shell
  /** MD5 of the content before it, lower-case hex: asked only of what a service alone has. */
  readonly md5Of: (path: RawPath) => Promise<string>
  /** What lists of the archive told of versions, by `versionKey`. */
  readonly origins?: ReadonlyMap<string, PackageOrigin>
  readonly signal?: AbortSignal | undefined
}

interface Candidate {
  readonly path: RawPath
  readonly sha256: string
  readonly size: number
  readonly file: SourcedFile
}

/**
 * By path; what is not in it has to be kept another way. A package at hand is opened, and each file's SHA-256 compared. Of one that only
 * a service has, the list of checksums at its beginning is read: size and MD5 of what lay on the machine must be those that both the
 * service's package and dpkg have for it.
 */
export async function findReferences(inquiry: ReferenceInquiry): Promise<ReadonlyMap<RawPath, Reference>> {
  const references = new Map<RawPath, Reference>()
  for (const candidates of byPackage(inquiry).values()) {
    const [first] = candidates
    if (first === undefined) continue
    const { name, version, architecture } = first.file.package
    const origin = inquiry.origins?.get(versionKey(name, architecture, version))
    const found = await inquiry.sources.find({
      name,
      version,
      architecture,
      ...(origin?.sha256 === undefined ? {} : { sha256: origin.sha256 }),
      ...(origin?.file === undefined ? {} : { file: origin.file }),
    })
    if (found === undefined) continue
    const proven =
      found.place === 'snapshot'
        ? await provenByList(found, candidates, inquiry)
        : await provenByContent(found, candidates, inquiry)
    for (const { path, file } of proven)
      references.set(path, {
        kind: 'reference',
        package: name,
        version,
        architecture,
        inside: file.inside,
        from: found.from,
      })
  }
  return references
}

function byPackage({ changes, files }: ReferenceInquiry): Map<string, Candidate[]> {
  const found = new Map<string, Candidate[]>()
  for (const { path, before } of changes) {
    if (before?.type !== 'file' || before.sha256 === undefined || before.size === undefined) continue
    const file = files.fileOf(path)
    if (file === undefined) continue
    const { name, version, architecture } = file.package
    const key = versionKey(name, architecture, version)
    const candidate = { path, sha256: before.sha256, size: before.size, file }
    found.set(key, [...(found.get(key) ?? []), candidate])
  }
  return found
}

async function provenByContent(
  found: FoundPackage,
  candidates: readonly Candidate[],
  { shell, signal }: ReferenceInquiry,
): Promise<readonly Candidate[]> {
  const sums = new Map<RawPath, string>()
  const wanted = new Set(candidates.map(({ file }) => file.inside))
  for await (const { inside, attributes, segments } of readPackageFiles(found, wanted, { shell, signal })) {
    if (attributes.type !== 'file') continue
    const sum = createHash('sha256')
    for await (const segment of segments())
      sum.update(segment.kind === 'data' ? segment.bytes : Buffer.alloc(segment.length))
    sums.set(inside, sum.digest('hex'))
  }
  return candidates.filter(({ file, sha256 }) => sums.get(file.inside) === sha256)
}

async function provenByList(
  found: FoundPackage,
  candidates: readonly Candidate[],
  { md5Of }: ReferenceInquiry,
): Promise<readonly Candidate[]> {
  const proven: Candidate[] = []
  for (const candidate of candidates) {
    const { path, file, sha256 } = candidate
    const control = file.inside.startsWith('/DEBIAN/')
      ? found.control?.files.get(file.inside.slice('/DEBIAN/'.length))
      : undefined
    const isProven =
      control === undefined
        ? file.md5 !== undefined &&
          found.control?.md5sums.get(file.inside) === file.md5 &&
          (await md5Of(path)) === file.md5
        : createHash('sha256').update(control).digest('hex') === sha256
    if (isProven) proven.push(candidate)
  }
  return proven
}
