// What the package manager of this machine knows of files: whether they are as they came, and whose they are.
import { existsSync, lstatSync } from 'node:fs'
import { VmlError } from '../base/failure.ts'
import { rawFromString, rawToBytes } from '../base/raw-text.ts'
import { parseRawPath, type RawPath, rootPath } from '../model/raw-path.ts'
import { readDpkgFiles } from '../packages/dpkg-files.ts'
import { openPackagePins, type PackagePins } from '../packages/package-pins.ts'
import { exportRpmDatabase, rpmDatabaseFolder } from '../packages/rpm-headers.ts'
import { rpmOwners } from '../packages/rpm-owners.ts'
import { verifyRpmFiles } from '../packages/rpm-proof.ts'
import { verifyFiles } from '../packages/verify-files.ts'
import { openLocalShell } from '../wire/local-shell.ts'
import { type Started, typedPath } from './working-folder.ts'

export interface Finding {
  readonly path: RawPath
  /** Empty where only the path is told, as rpm does. */
  readonly package: string
  readonly isConfiguration: boolean
  /** `missing`, `content`, or what rpm compares beside: `mode`, `user`. */
  readonly problems: readonly string[]
}

export interface Owner {
  readonly package: string
  readonly version: string
  readonly architecture: string
}

/** A path that packages list, and that lies elsewhere, so that another one has its own there. */
export interface DivertedFrom {
  /** The package whose own lies at the path; undefined for one of the administrator's. */
  readonly by: string | undefined
  readonly to: RawPath
  /** Of what lies there. */
  readonly owners: readonly Owner[]
}

export interface OwnersOfPath {
  readonly owners: readonly Owner[]
  readonly diversion?: DivertedFrom
}

export function managerHere(): 'dpkg' | 'rpm' {
  if (existsSync('/var/lib/dpkg/status')) return 'dpkg'
  if (existsSync('/usr/lib/sysimage/rpm') || existsSync('/var/lib/rpm')) return 'rpm'
  throw new VmlError('unsupported', 'Cannot ask for packages here: there is no database of dpkg or rpm')
}

export function packagePinsHere(): PackagePins {
  return openPackagePins(openLocalShell(), managerHere())
}

/** Without names, all that are installed. `unknown` is told of each name that no installed package has; the others are compared. */
export async function* verifyPackages(
  names: readonly string[],
  { signal, unknown }: { readonly signal: AbortSignal; unknown(name: string): void },
): AsyncGenerator<Finding> {
  if (managerHere() === 'rpm') {
    yield* verifyRpm(names, { signal, unknown })
    return
  }
  const files = readDpkgFiles(rootPath)
  const keys = names.flatMap((name) => {
    const found = files.packages.filter(
      (one) =>
        one.state !== 'config-files' &&
        (one.name === name || one.key === name || `${one.name}:${one.architecture}` === name),
    )
    if (found.length === 0) unknown(name)
    return found.map(({ key }) => key)
  })
  if (names.length > 0 && keys.length === 0) return
  const findings = verifyFiles(rootPath, files, { ...(names.length === 0 ? {} : { keys }), signal })
  for await (const { path, package: owner, isConffile, problem } of findings)
    yield { path, package: owner.key, isConfiguration: isConffile, problems: [problem] }
}

async function* verifyRpm(
  names: readonly string[],
  { signal, unknown }: Parameters<typeof verifyPackages>[1],
): AsyncGenerator<Finding> {
  const shell = openLocalShell()
  const packages: string[] = names.length > 0 ? [] : await allOfRpm(signal)
  for (const name of names) {
    const { status } = await shell.run({ argv: ['rpm', '-q', '--', name], outputBytesMax, signal })
    if (status === 0) packages.push(name)
    else unknown(name)
  }
  for (const { path, differs, isConfiguration } of await verifyRpmFiles(shell, { packages, signal }))
    yield { path, package: '', isConfiguration, problems: differs }
}

async function allOfRpm(signal: AbortSignal): Promise<string[]> {
  const shell = openLocalShell()
  const { stdout } = await shell.run({ argv: ['rpm', '-qa'], outputBytesMax, signal })
  return stdout
    .toString('latin1')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('gpg-pubkey-'))
}

/** A line of 100 bytes for each of 200,000 packages. */
const outputBytesMax = 20 * 1024 * 1024

/** By path, those that were asked for; none: no package has it. */
export async function findOwners(
  paths: readonly RawPath[],
  signal: AbortSignal,
): Promise<ReadonlyMap<RawPath, OwnersOfPath>> {
  if (managerHere() === 'dpkg') {
    const files = readDpkgFiles(rootPath)
    const ownersOf = (path: RawPath) =>
      files.ownersOf(path).map(({ package: { name, version, architecture } }) => ({
        package: name,
        version,
        architecture,
      }))
    return new Map(
      paths.map((path) => {
        const diversion = files.diversionOf(path)
        const { package: by, target: to } = diversion ?? {}
        return [
          path,
          {
            owners: ownersOf(path),
            ...(to === undefined ? {} : { diversion: { by, to, owners: ownersOf(to) } }),
          },
        ]
      }),
    )
  }
  const shell = openLocalShell()
  const folder = await rpmDatabaseFolder(shell, { signal })
  const owners = await rpmOwners(exportRpmDatabase(shell, folder, { signal }), new Set(paths))
  return new Map(
    paths.map((path) => [
      path,
      {
        owners: (owners.get(path) ?? []).map((one) => ({
          package: one.package,
          version: '',
          architecture: '',
        })),
      },
    ]),
  )
}

/** Whether anything stands there, whatever it is. */
export function isThere(path: RawPath): boolean {
  return lstatSync(rawToBytes(path), { throwIfNoEntry: false }) !== undefined
}

/** As it was typed, made absolute; undefined for what can be no path. */
export function pathOfWord(word: string, started: Started): RawPath | undefined {
  return word === '' ? undefined : parseRawPath(rawFromString(typedPath(started, word)))
}
