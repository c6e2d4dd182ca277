// Where an exact version of a package can be had again: only from sources that do not forget.
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, rename, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { isFailure, VmlError } from '../base/failure.ts'
import { printable, rawToBytes } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import { openDeb, type DebControl } from '../wire/deb-file.ts'
import { openRpmFile } from '../wire/rpm-file.ts'
import { rpmVersion } from '../wire/rpm-package.ts'
import type { Shell } from '../wire/shell.ts'
import { listPool, poolNames } from './package-pool.ts'
import { type HttpRequest, httpRequest } from '../wire/http-request.ts'
import { type OpenablePackage, packageFormatOf } from './package-files.ts'
import { addressOf, askSnapshot, type SnapshotFile, type SnapshotService } from './snapshot-service.ts'

export interface WantedPackage {
  readonly name: string
  readonly version: string
  readonly architecture: string
  /** Of the package's file, where a list of the archive told it: then no other file is taken. */
  readonly sha256?: string
  /** Below the archive's address, as its lists tell it. */
  readonly file?: string
}

/** A package that was looked into: it is the version that is wanted. */
export interface FoundPackage extends OpenablePackage {
  readonly place: 'logbook' | 'pool' | 'snapshot'
  /** For a record: `logbook`, `pool /srv/debs`, `snapshot http://snapshot.debian.org`. */
  readonly from: string
  /** Of a .deb. */
  readonly control?: DebControl
  /** Of its file. Of a snapshot service only where a list of the archive told it. */
  readonly sha256?: string
  /** Of its file, where the service told it; checked when it is fetched. */
  readonly sha1?: string
}

/** A package at hand: it can be read without a network. */
export interface FetchedPackage extends OpenablePackage {
  readonly sha256: string
}

export interface PackageSources {
  /** In the order logbook, pools, services, first found first taken. Undefined where none has it. */
  find(wanted: WantedPackage): Promise<FoundPackage | undefined>
}

export interface PackageSourcesOptions {
  /** A package that the logbook keeps. */
  readonly kept?: (wanted: WantedPackage) => Promise<FetchedPackage | undefined>
  /** Folders of this host. */
  readonly pools?: readonly RawPath[]
  readonly snapshots?: readonly SnapshotService[]
  readonly http: HttpRequest
  readonly shell: Shell
  /** Told of a source that cannot be asked, or has another package under the name; the next one is asked then. */
  readonly onProblem?: (problem: VmlError) => void
}

/**
 * Pools are listed once, when they are first asked. A service that did not answer is not asked again: whoever waits for an upgrade would
 * wait as often as there are packages.
 */
export function openPackageSources({
  kept,
  pools = [],
  snapshots = [],
  http,
  shell,
  onProblem,
}: PackageSourcesOptions): PackageSources {
  const listed = new Map<RawPath, Promise<ReadonlyMap<string, readonly RawPath[]>>>()
  const silent = new Set<SnapshotService>()
  const look = async (
    { name, version, architecture, sha256: wantedSha256 }: WantedPackage,
    candidate: Omit<FoundPackage, 'control'>,
  ): Promise<FoundPackage | undefined> => {
    const { is, control } = await lookInto(candidate, { shell, signal: http.signal })
    const isOther =
      wantedSha256 !== undefined && candidate.sha256 !== undefined && candidate.sha256 !== wantedSha256
    if (!isOther && is === `${name} ${version} ${architecture}`)
      return { ...candidate, ...(control === undefined ? {} : { control }) }
    throw new VmlError(
      'integrity.format',
      `Cannot take ${name} ${version} from ${candidate.from}: it is another package`,
    )
  }
  async function* candidates(wanted: WantedPackage): AsyncGenerator<() => Promise<FoundPackage | undefined>> {
    yield async () => {
      const found = await kept?.(wanted)
      return found && (await look(wanted, { ...found, place: 'logbook', from: 'logbook' }))
    }
    for (const pool of pools) {
      let paths: readonly RawPath[] = []
      yield async () => {
        const files = await (listed.get(pool) ?? keep(listed, pool, listPool(pool)))
        paths = poolNames(wanted).flatMap((name) => files.get(name) ?? [])
        return undefined
      }
      for (const path of paths)
        yield async () => {
          const deb = await openLocalPackage(path)
          return await look(wanted, { ...deb, place: 'pool', from: `pool ${printable(pool)}` })
        }
    }
    for (const service of snapshots) {
      if (silent.has(service)) continue
      let files: readonly SnapshotFile[] = []
      yield async () => {
        try {
          files = await askSnapshot(service, wanted, http)
        } catch (error) {
          if (isFailure(error, 'unavailable.network', 'unavailable.timeout')) silent.add(service)
          throw error
        }
        return undefined
      }
      for (const { url, sha1 } of files)
        yield async () =>
          await look(wanted, {
            place: 'snapshot',
            format: 'deb',
            from: `snapshot ${service.address}`,
            ...(sha1 === undefined ? {} : { sha1 }),
            ...(wanted.sha256 === undefined ? {} : { sha256: wanted.sha256 }),
            open: () => download(url, http),
          })
    }
  }
  return {
    async find(wanted) {
      for await (const ask of candidates(wanted)) {
        try {
          const found = await ask()
          if (found !== undefined) return found
        } catch (error) {
          if (!(error instanceof VmlError) || error.code === 'cancelled') throw error
          onProblem?.(error)
        }
      }
      return undefined
    },
  }
}

async function keep<Key, Value>(
  map: Map<Key, Promise<Value>>,
  key: Key,
  value: Promise<Value>,
): Promise<Value> {
  map.set(key, value)
  return await value
}

/** Of a service no more is read than what comes before the files. */
async function lookInto(
  candidate: OpenablePackage,
  { shell, signal }: { shell: Shell; signal: AbortSignal | undefined },
): Promise<{ readonly is: string; readonly control?: DebControl }> {
  if (candidate.format === 'rpm') {
    const rpm = await openRpmFile(candidate.open(), { signal })
    await rpm.close()
    return { is: `${rpm.package.name} ${rpmVersion(rpm.package)} ${rpm.package.architecture}` }
  }
  await using file = await openDeb(candidate.open(), { shell, signal })
  const { control } = file
  const is = ['package', 'version', 'architecture'].map((key) => control.paragraph.get(key)).join(' ')
  return { is, control }
}

/** A package of this host, read once for its checksum. */
export async function openLocalPackage(path: RawPath): Promise<FetchedPackage> {
  const local = {
    format: packageFormatOf(path) ?? 'deb',
    open: () => createReadStream(rawToBytes(path)) as AsyncIterable<Uint8Array>,
  }
  const sha256 = createHash('sha256')
  for await (const chunk of local.open()) sha256.update(chunk)
  return { ...local, sha256: sha256.digest('hex') }
}

async function* download(url: string, http: HttpRequest): AsyncGenerator<Uint8Array, void, undefined> {
  await using answer = await httpRequest(addressOf(url), http)
  if (answer.status !== 200)
    throw new VmlError('remote.protocol', `Cannot get "${url}": the server answers ${answer.status}`)
  yield* answer.body
}

/** Debian's largest package, flightgear-data's old ones, had some 2 GB. */
const packageBytesMax = 8 * 1024 * 1024 * 1024

/**
 * The package at hand: what is on this host already stays where it is; what a service has comes into `folder`, a private one, under the
 * name of its checksum. `integrity.hash` where a checksum that was known is not the one that came.
 */
export async function fetchPackage(
  found: FoundPackage,
  { folder }: { readonly folder: string },
): Promise<FetchedPackage> {
  const { sha256: known, sha1: knownSha1, place } = found
  const { format } = found
  if (place !== 'snapshot' && known !== undefined) return { format, open: () => found.open(), sha256: known }
  const partial = join(folder, '.fetching')
  const sums = { sha256: createHash('sha256'), sha1: createHash('sha1') }
  const file = await open(partial, 'w', 0o600)
  try {
    try {
      let bytes = 0
      for await (const chunk of found.open()) {
        bytes += chunk.length
        if (bytes > packageBytesMax)
          throw new VmlError(
            'remote.protocol',
            `Stopped a package from ${found.from}: it has more than ${packageBytesMax} bytes`,
          )
        sums.sha256.update(chunk)
        sums.sha1.update(chunk)
        await file.writeFile(chunk)
      }
      await file.sync()
    } finally {
      await file.close()
    }
    const sha256 = sums.sha256.digest('hex')
    const sha1 = sums.sha1.digest('hex')
    if ((known !== undefined && known !== sha256) || (knownSha1 !== undefined && knownSha1 !== sha1))
      throw new VmlError(
        'integrity.hash',
        `Cannot take a package from ${found.from}: its checksum is another one`,
      )
    const path = join(folder, `${sha256}.${format}`)
    await rename(partial, path)
    return { format, open: () => createReadStream(path), sha256 }
  } catch (error) {
    await unlink(partial).catch(() => {})
    throw error
  }
}
