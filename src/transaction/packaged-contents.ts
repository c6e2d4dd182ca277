// Contents of packages' own files as they were before somebody changed them, out of packages that lie on the machine.
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { type RawText, rawToBytes } from '../base/raw-text.ts'
import { type RawPath, rootPath } from '../model/raw-path.ts'
import type { PathChange } from '../model/transaction.ts'
import { versionKey } from '../packages/dpkg-records.ts'
import { readPackageFiles } from '../packages/package-files.ts'
import { openPackageSources, type PackageSources } from '../packages/package-sources.ts'
import type { SourcedFile, SourcedFiles } from '../packages/package-system.ts'
import { inRoot, pathIn, type Workplace } from './workplace.ts'

export interface PackagedContents {
  /** Changes whose content before was found, with its hash. */
  readonly completed: ReadonlyMap<RawPath, PathChange>
  /** Where it lies now. */
  readonly places: ReadonlyMap<RawPath, RawText>
  /** Of the others: why it was not. */
  readonly reasons: ReadonlyMap<RawPath, string>
}

/** apt keeps what it fetched until somebody tidies up: good to take a content from, nothing to rely on later. */
export const aptArchives: RawPath = pathIn(rootPath, '/var/cache/apt/archives')
/** Read into memory. */
const contentBytesMax = 256 * 1024 * 1024

/** Only what has the size and the checksum that dpkg knows, and the size that the index knew, is taken. */
export async function packagedContents(
  place: Workplace,
  missing: readonly PathChange[],
  {
    files,
    folder,
    sources: more,
  }: {
    readonly files: SourcedFiles
    readonly folder: RawPath
    /** Asked after what apt keeps. */
    readonly sources?: PackageSources | undefined
  },
): Promise<PackagedContents> {
  const completed = new Map<RawPath, PathChange>()
  const places = new Map<RawPath, RawText>()
  const reasons = new Map<RawPath, string>()
  const { shell, signal } = place
  const sources = openPackageSources({
    pools: [inRoot(place, aptArchives)],
    http: { fetch, idleTimeoutMs: 1, signal },
    shell,
  })
  for (const wanted of byPackage(missing, files)) {
    const { name, version, architecture } = wanted.package
    const exact = { name, version, architecture }
    const found = (await sources.find(exact)) ?? (await more?.find(exact))
    for (const { change } of wanted.files)
      reasons.set(change.path, `${name} ${version} has it, and no source has its package`)
    if (found === undefined) continue
    const inside = new Set(wanted.files.map(({ file }) => file.inside))
    for await (const { inside: name, attributes, segments } of readPackageFiles(found, inside, {
      shell,
      signal,
    })) {
      if (attributes.type !== 'file' || (attributes.size ?? 0) > contentBytesMax) continue
      const pieces: Uint8Array[] = []
      for await (const segment of segments())
        pieces.push(segment.kind === 'data' ? Uint8Array.from(segment.bytes) : Buffer.alloc(segment.length))
      const content = Buffer.concat(pieces)
      const md5 = sumOf('md5', content)
      for (const { change, file } of wanted.files) {
        const { path, before } = change
        if (file.inside !== name || before?.size !== content.length || file.md5 !== md5) continue
        const at = pathIn(folder, `packaged-${places.size}`)
        writeFileSync(rawToBytes(at), content, { mode: 0o600 })
        places.set(path, at)
        completed.set(path, { ...change, before: { ...before, sha256: sumOf('sha256', content) } })
      }
    }
  }
  return { completed, places, reasons }
}

interface Wanted {
  readonly package: SourcedFile['package']
  readonly files: { readonly change: PathChange; readonly file: SourcedFile }[]
}

function byPackage(missing: readonly PathChange[], files: SourcedFiles): Iterable<Wanted> {
  const found = new Map<string, Wanted>()
  for (const change of missing) {
    const file = files.fileOf(change.path)
    if (file?.md5 === undefined) continue
    const { name, architecture, version } = file.package
    const key = versionKey(name, architecture, version)
    const wanted = found.get(key) ?? { package: file.package, files: [] }
    wanted.files.push({ change, file })
    found.set(key, wanted)
  }
  return found.values()
}

function sumOf(algorithm: 'md5' | 'sha256', content: Buffer): string {
  return createHash(algorithm).update(content).digest('hex')
}
