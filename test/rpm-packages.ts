// Packages for an rpm chroot, built in it by rpmbuild: a specification each, many in one run of a second.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface RpmSpec {
  readonly name: string
  readonly version: string
  readonly release?: string
  /** Lines of the head, such as `Requires: a >= 2`. */
  readonly head?: readonly string[]
  /** What fills the new package's root, `$R`. */
  readonly install?: string
  /** Sections such as `%post` with their lines. */
  readonly sections?: string
  readonly files?: readonly string[]
}

/** Any system with rpmbuild. */
export interface RpmBuilder {
  readonly path: string
  run(argv: readonly string[]): Promise<unknown>
}

/** Their paths in the chroot, in order. */
export async function buildRpms(chroot: RpmBuilder, specs: readonly RpmSpec[]): Promise<readonly string[]> {
  const folder = '/root/rpmbuild/SPECS'
  mkdirSync(join(chroot.path, folder), { recursive: true })
  const files = specs.map(
    ({ name, version, release = '1' }) => `${folder}/${name}-${version}-${release}.spec`,
  )
  for (const [index, spec] of specs.entries())
    writeFileSync(join(chroot.path, files[index] ?? ''), specText(spec))
  await chroot.run(['rpmbuild', '-bb', '--quiet', ...files])
  return specs.map(rpmPath)
}

/** Where `buildRpms` puts it. */
export function rpmPath({ name, version, release = '1' }: RpmSpec): string {
  return `/root/rpmbuild/RPMS/noarch/${name}-${version}-${release}.noarch.rpm`
}

/** As dnf's only repository. */
export async function publish(chroot: RpmBuilder, paths: readonly string[]): Promise<void> {
  await chroot.run(['cp', ...paths, '/srv/repository/'])
  await chroot.run(['createrepo_c', '--quiet', '/srv/repository'])
}

export function specText({
  name,
  version,
  release = '1',
  head = [],
  install = '',
  sections = '',
  files = [],
}: RpmSpec): string {
  return [
    `Name: ${name}`,
    `Version: ${version}`,
    `Release: ${release}`,
    'Summary: a test',
    'License: none',
    'BuildArch: noarch',
    ...head,
    '%description',
    'A test.',
    '%install',
    'R=%{buildroot}; mkdir -p $R',
    install,
    sections,
    '%files',
    ...files,
    '',
  ].join('\n')
}
