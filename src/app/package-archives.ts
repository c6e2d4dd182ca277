// Sources of packages that do not forget, as the machine's settings name them: asked when a transaction is recorded, and when it is undone.
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf, VmlError } from '../base/failure.ts'
import { printable, rawFromString, rawToBytes } from '../base/raw-text.ts'
import type { FindReferences } from '../transaction/end-stage.ts'
import type { ReadTransaction } from '../transaction/transaction-entry.ts'
import { parseRawPath } from '../model/raw-path.ts'
import { readAptOrigins } from '../packages/apt-origins.ts'
import { versionKey } from '../packages/dpkg-records.ts'
import type { FetchedContents, WantedContent } from '../packages/fetch-references.ts'
import type { Reference } from '../packages/package-references.ts'
import { openPackageSources, type PackageSources } from '../packages/package-sources.ts'
import type { SnapshotService } from '../packages/snapshot-service.ts'
import type { Shell } from '../wire/shell.ts'
import type { TransactionSettings } from './settings.ts'
import type { TransactionContext } from './transaction-context.ts'

/** A service that is silent for so long is not there: somebody waits for an upgrade. */
const idleTimeoutMs = 20_000

export interface Asking {
  readonly context: Pick<TransactionContext, 'reporter' | 'signal'>
  readonly settings: TransactionSettings
  readonly shell: Shell
}

/** Undefined where no source is configured: then nothing is asked of any network. */
export function referenceFinder({ context, settings, shell }: Asking): FindReferences | undefined {
  if (settings.pools.length === 0 && settings.snapshots.length === 0) return undefined
  const { signal, reporter } = context
  return async ({ changes, files, before }) => {
    reporter.progress({ phase: 'looking for what packages give again' })
    const { findReferences } = await import('../packages/package-references.ts')
    const wanted = changes.flatMap(({ path, before: was }) => {
      const file = was?.type === 'file' ? files.fileOf(path) : undefined
      return file ? [file.package] : []
    })
    const versions = new Map(
      wanted.map((one) => [versionKey(one.name, one.architecture, one.version), one] as const),
    )
    return await findReferences({
      changes,
      files,
      sources: openSources({ context, settings, shell }),
      shell,
      origins:
        settings.snapshots.length > 0
          ? await readAptOrigins(shell, [...versions.values()], { signal })
          : new Map(),
      async md5Of(path) {
        const sum = createHash('md5')
        const kept = before(path)
        if (kept === undefined) return ''
        for await (const chunk of createReadStream(rawToBytes(kept))) sum.update(chunk as Uint8Array)
        return sum.digest('hex')
      },
      signal,
    })
  }
}

/** The same sources for whoever needs a file of an exact version. */
export function configuredSources(asking: Asking): PackageSources | undefined {
  const { pools, snapshots } = asking.settings
  return pools.length === 0 && snapshots.length === 0 ? undefined : openSources(asking)
}

export interface ReferencedContents extends AsyncDisposable {
  /** Fails as `read` does where its package is gone. Only pools are asked: a service is asked when something is fetched. */
  require(reference: Reference): Promise<void>
  /** Packages that no pool has, of those that were required: what services have was not asked. */
  unasked(): readonly string[]
  /** Compared with its hash. `integrity.missing` where no source has it any more. */
  read(reference: Reference, sha256: string): Promise<Buffer>
}

/** Each package is fetched once, with all that any of the records wants of it, into a private folder below `state`. */
export function openReferencedContents({
  asking,
  state,
  transactions,
}: {
  readonly asking: Asking
  readonly state: string
  readonly transactions: () => Promise<readonly ReadTransaction[]>
}): ReferencedContents {
  const { shell, context } = asking
  let folder: string | undefined
  let sources: PackageSources | undefined
  const fetched = new Map<string, FetchedContents>()
  const whereIs = packageLook(asking, { services: false })
  const unasked = new Set<string>()
  return {
    unasked: () => [...unasked],
    async require(reference) {
      const where = await whereIs(reference)
      if (where === 'gone') throw gone(reference, 'no source has the package any more')
      if (where === 'not asked') unasked.add(keyOf(reference))
    },
    async read(reference, sha256) {
      const key = keyOf(reference)
      folder ??= await mkdtemp(join(state, 'fetched-'))
      sources ??= openSources(asking)
      let found = fetched.get(key)
      if (found === undefined) {
        context.reporter.progress({ phase: `getting ${reference.package} ${reference.version}` })
        const wanted = wantedOf(await transactions(), key)
        const { fetchReferences } = await import('../packages/fetch-references.ts')
        found = await fetchReferences({ wanted, sources, shell, folder, signal: context.signal })
        fetched.set(key, found)
      }
      const file = found.files.get(sha256)
      if (file !== undefined) return await readFile(file)
      const why = found.lost.find((one) => one.sha256 === sha256)?.reason ?? 'it was not asked for'
      throw gone(reference, why)
    },
    async [Symbol.asyncDispose]() {
      if (folder !== undefined) await rm(folder, { recursive: true, force: true })
    },
  }
}

function gone({ package: name, version, inside, from }: Reference, why: string): VmlError {
  return new VmlError(
    'integrity.missing',
    `Cannot get "${printable(inside)}" of ${name} ${version}: ${why}`,
    {
      details: { package: name, version, from },
      hint: `Nothing was changed. It came from ${from}; see pools and snapshots in /etc/vml/config.toml`,
    },
  )
}

/** `not asked`: no pool has it, and a service that may was not asked. */
export type PackageWhereabouts = 'there' | 'gone' | 'not asked'

/** Whether the package of a reference can still be had. Each package is looked for once. */
export function packageLook(
  asking: Asking,
  { services }: { readonly services: boolean },
): (reference: Reference) => Promise<PackageWhereabouts> {
  const { settings } = asking
  const snapshots = services ? settings.snapshots : []
  const otherwise = settings.snapshots.length > snapshots.length ? 'not asked' : 'gone'
  const known = new Map<string, PackageWhereabouts>()
  let sources: PackageSources | undefined
  return async (reference) => {
    const key = keyOf(reference)
    const before = known.get(key)
    if (before !== undefined) return before
    const { package: name, architecture, version } = reference
    sources ??= openSources({ ...asking, settings: { ...settings, snapshots } })
    const found = (await sources.find({ name, architecture, version })) ? 'there' : otherwise
    known.set(key, found)
    return found
  }
}

function keyOf({ package: name, architecture, version }: Reference): string {
  return versionKey(name, architecture, version)
}

function wantedOf(transactions: readonly ReadTransaction[], key: string): WantedContent[] {
  return transactions.flatMap(({ changes }) =>
    changes.flatMap(({ before, preImage }): WantedContent[] =>
      preImage.kind === 'reference' && keyOf(preImage) === key && before?.sha256 !== undefined
        ? [{ reference: preImage, sha256: before.sha256 }]
        : [],
    ),
  )
}

export function openSources({ context, settings, shell }: Asking): PackageSources {
  const { reporter, signal } = context
  return openPackageSources({
    pools: settings.pools.flatMap((pool) => parseRawPath(rawFromString(pool)) ?? []),
    snapshots: settings.snapshots.map(serviceOf),
    http: { fetch, idleTimeoutMs, signal },
    shell,
    onProblem: (problem) => reporter.warn({ warning: messageOf(problem) }),
  })
}

/** An address that ends in a moment is an archive of that moment; others are asked by their index, which is above the archive. */
function serviceOf(address: string): SnapshotService {
  const plain = address.replace(/\/+$/, '')
  return /\/\d{8}T\d{6}Z$/.test(plain)
    ? { kind: 'moment', address: plain }
    : { kind: 'index', address: plain.replace(/\/archive\/[^/]+$/, '') }
}
