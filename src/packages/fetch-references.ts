// Contents that a record refers to, brought to hand before anything is changed: each compared with its SHA-256.
import { createHash } from 'node:crypto'
import { open, rename, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf, VmlError } from '../base/failure.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { Segment } from '../model/tree.ts'
import type { Shell } from '../wire/shell.ts'
import { versionKey } from './dpkg-records.ts'
import { readPackageFiles } from './package-files.ts'
import type { Reference } from './package-references.ts'
import { fetchPackage, type PackageSources } from './package-sources.ts'

export interface WantedContent {
  readonly reference: Reference
  /** Of the content, from the record. */
  readonly sha256: string
}

export interface FetchedContents {
  /** Files in the folder, by the SHA-256 of what they hold. */
  readonly files: ReadonlyMap<string, string>
  /** What cannot be had, and why. */
  readonly lost: readonly (WantedContent & { readonly reason: string })[]
}

/**
 * Into `folder`, a private one: a file for each content under its SHA-256, and what packages had to be fetched. Each package is read
 * once. That something is lost is no failure of this: the caller says what it means.
 */
export async function fetchReferences({
  wanted,
  sources,
  shell,
  folder,
  signal,
}: {
  readonly wanted: Iterable<WantedContent>
  readonly sources: PackageSources
  readonly shell: Shell
  readonly folder: string
  readonly signal?: AbortSignal | undefined
}): Promise<FetchedContents> {
  const files = new Map<string, string>()
  const lost: FetchedContents['lost'][number][] = []
  const byPackage = new Map<string, WantedContent[]>()
  for (const one of wanted) {
    const key = versionKey(one.reference.package, one.reference.architecture, one.reference.version)
    byPackage.set(key, [...(byPackage.get(key) ?? []), one])
  }
  for (const contents of byPackage.values()) {
    let reason = 'the package does not have the content that was recorded'
    try {
      if (!(await fetchFrom(contents, { files, sources, shell, folder, signal })))
        reason = 'no source has the package any more'
    } catch (error) {
      if (!(error instanceof VmlError) || error.code === 'cancelled') throw error
      reason = messageOf(error)
    }
    for (const one of contents) if (!files.has(one.sha256)) lost.push({ ...one, reason })
  }
  return { files, lost }
}

interface Into {
  readonly files: Map<string, string>
  readonly sources: PackageSources
  readonly shell: Shell
  readonly folder: string
  readonly signal: AbortSignal | undefined
}

/** False where no source has the package. */
async function fetchFrom(
  contents: readonly WantedContent[],
  { files, sources, shell, folder, signal }: Into,
): Promise<boolean> {
  const [first] = contents
  if (first === undefined) return true
  const { package: name, version, architecture } = first.reference
  const found = await sources.find({ name, version, architecture })
  if (found === undefined) return false
  const deb = await fetchPackage(found, { folder })
  const sums = new Map<RawPath, Set<string>>()
  for (const { reference, sha256 } of contents)
    sums.set(reference.inside, (sums.get(reference.inside) ?? new Set()).add(sha256))
  for await (const { inside, attributes, segments } of readPackageFiles(deb, new Set(sums.keys()), {
    shell,
    signal,
  })) {
    if (attributes.type !== 'file') continue
    const kept = await keep(segments(), { folder, expected: sums.get(inside) ?? new Set() })
    if (kept !== undefined) files.set(kept.sha256, kept.file)
  }
  return true
}

/** Undefined, and nothing kept, where it is not what was expected. */
async function keep(
  segments: AsyncIterable<Segment>,
  { folder, expected }: { readonly folder: string; readonly expected: ReadonlySet<string> },
): Promise<{ sha256: string; file: string } | undefined> {
  const partial = join(folder, '.content')
  const sum = createHash('sha256')
  let isKept = false
  try {
    {
      await using file = await open(partial, 'w', 0o600)
      for await (const segment of segments) {
        const bytes = segment.kind === 'data' ? segment.bytes : Buffer.alloc(segment.length)
        sum.update(bytes)
        await file.writeFile(bytes)
      }
    }
    const sha256 = sum.digest('hex')
    if (!expected.has(sha256)) return undefined
    const file = join(folder, sha256)
    await rename(partial, file)
    isKept = true
    return { sha256, file }
  } finally {
    if (!isKept) await unlink(partial).catch(() => {})
  }
}
