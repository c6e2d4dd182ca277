// Packages, archives and comparisons of the test bed: what Debian itself does not do twice alike would be found in every proof.
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { test } from 'node:test'
import { openChroot, type Chroot } from '../chroot.ts'
import { openPackageArchive, type PackageArchive } from '../package-archive.ts'
import type { TinyPackage } from '../tiny-packages.ts'
import { compareTrees, renderComparison } from '../tree-compare.ts'
import { regenerated } from '../tree-rules.ts'

test('two chroots in which apt does the same are equal but for paths that are written anew', async () => {
  await using one = await openChroot()
  await using other = await openChroot()
  const machines = await Promise.all(
    [one, other].map(async (chroot) => ({ chroot, archive: await openPackageArchive(chroot) })),
  )
  const steps: readonly ((chroot: Chroot, archive: PackageArchive) => Promise<unknown>)[] = [
    async (chroot, archive) => {
      await archive.publish(library('1'), program('1'))
      await chroot.run(['apt-get', '-y', 'install', 'tiny-program'])
    },
    async (chroot, archive) => {
      await archive.publish(library('2'), program('2'))
      await chroot.run(['apt-get', '-y', 'dist-upgrade'])
    },
    async (chroot) => await chroot.run(['apt-get', '-y', 'remove', '--auto-remove', 'tiny-program']),
    async (chroot) => await chroot.run(['apt-get', '-y', 'purge', 'tiny-program', 'tiny-library']),
  ]
  for (const step of steps) {
    // Alone, so that their clocks differ.
    for (const { chroot, archive } of machines) await step(chroot, archive)
    const comparison = compareTrees(one.path, other.path, { allowed: regenerated })
    assert.equal(renderComparison(comparison), '')
    assert.ok((comparison.allowed.get('logs') ?? 0) > 0, 'the logs were compared')
  }
  assert.equal((await one.sh('getent passwd tiny | cut -d: -f1')).stdout, 'tiny\n')
})

test('an archive that forgets has no version but the last, and one that does not has all', async () => {
  for (const forgets of [true, false]) {
    await using chroot = await openChroot()
    const archive = await openPackageArchive(chroot, { forgets, method: 'copy' })
    await archive.publish(program('1', {}))
    await archive.publish(program('2', {}))
    const { status } = await chroot.run(['apt-get', '-y', 'install', 'tiny-program=1'], { mayFail: true })
    assert.equal(status, forgets ? 100 : 0)
    await chroot.run(['apt-get', '-y', 'install', 'tiny-program=2'])
    const debs = readdirSync(chroot.archiveFolder).filter((name) => name.endsWith('.deb'))
    assert.equal(debs.length, forgets ? 1 : 2)
    await archive.withdraw('tiny-program', '2')
    assert.doesNotMatch((await chroot.run(['apt-cache', 'madison', 'tiny-program'])).stdout, / 2 /)
  }
})

function library(version: string): TinyPackage {
  return {
    name: 'tiny-library',
    version,
    architecture: 'amd64',
    files: { '/usr/lib/x86_64-linux-gnu/libtiny.so.1': version },
    control: { triggers: 'activate-noawait ldconfig\n' },
    scripts: { postinst: 'adduser --system --group --quiet tiny' },
  }
}

function program(
  version: string,
  fields: TinyPackage['fields'] = { Depends: `tiny-library (>= ${version})` },
): TinyPackage {
  return {
    name: 'tiny-program',
    version,
    fields,
    files: { '/usr/bin/tiny-program': { content: version, mode: 0o755 }, '/etc/tiny.conf': version },
    conffiles: ['/etc/tiny.conf'],
  }
}
