// Every kind of package by bare dpkg, one call at a time, undone exactly; and some of them on every file system, with folders on mounts of their own.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ruleServiceStarts } from '../chroot-services.ts'
import { type Chroot, type ChrootOptions, openChroot } from '../chroot.ts'
import { listed } from '../live-checks.ts'
import { openPackageArchive } from '../package-archive.ts'
import { tinyKinds } from '../tiny-kinds.ts'
import type { TinyKind } from '../tiny-packages.ts'
import { type AllowedDifference, compareTrees, renderComparison } from '../tree-compare.ts'
import { readTree } from '../tree-read.ts'
import { regenerated } from '../tree-rules.ts'

const steps = ['install', 'upgrade', 'remove', 'purge'] as const

/** ucf's own copies of what it had before, turned round with each change. */
const copiesOfUcf: AllowedDifference = {
  name: 'copies of ucf',
  allows: ({ path }) => /^\/var\/lib\/ucf\/(?:hashfile|registry)\.\d$/.test(path),
}

function call(kind: TinyKind, step: (typeof steps)[number]): string {
  const packages = kind.packages(step === 'install' ? 1 : 2)
  const names = packages.map(({ name }) => name).join(' ')
  if (step === 'remove') return `dpkg -r ${names}`
  return step === 'purge' ? `dpkg -P ${names}` : `dpkg -i ${filesOf(kind, step === 'install' ? 1 : 2)}`
}

function filesOf(kind: TinyKind, version: number): string {
  return kind
    .packages(version)
    .map(
      ({ name, version: number, architecture = 'all' }) =>
        `/srv/archive/${name}_${number}_${architecture}.deb`,
    )
    .join(' ')
}

async function proveKinds(chroot: Chroot, kinds: readonly TinyKind[]): Promise<number> {
  await ruleServiceStarts(chroot, 'allowed')
  const archive = await openPackageArchive(chroot)
  await archive.publish(...[1, 2].flatMap((version) => kinds.flatMap((kind) => kind.packages(version))))
  let proven = 0
  for (const kind of kinds)
    for (const step of steps) {
      if (step !== 'install') await chroot.sh(`dpkg -i ${filesOf(kind, 1)}`)
      if (step === 'remove' || step === 'purge') await chroot.sh(`dpkg -i ${filesOf(kind, 2)}`)
      const before = readTree(chroot.path)
      await chroot.vml(['tx', 'enable'])
      await chroot.sh(call(kind, step))
      await chroot.vml(['tx', 'disable'])
      const [line = ''] = await listed(chroot)
      assert.doesNotMatch(line, /incomplete/, `${kind.name} ${step}`)
      await chroot.vml(['tx', 'undo', /^#(\d+)/.exec(line)?.[1] ?? ''])
      const allowed = [...regenerated, copiesOfUcf]
      const comparison = compareTrees(before, readTree(chroot.path), { allowed })
      assert.equal(renderComparison(comparison), '', `${kind.name} ${step}`)
      const names = kind.packages(2).map(({ name }) => name)
      await chroot.sh(`dpkg -P ${names.join(' ')}`, { mayFail: true })
      proven++
    }
  return proven
}

// Its kernels have a depmod of their own, which no rule of regeneration knows.
const withoutKernel = tinyKinds.filter(({ name }) => name !== 'tiny-kernel')

test('each kind is installed, upgraded, removed and purged by bare dpkg, and each call undone exactly', async (context) => {
  await using chroot = await openChroot()
  context.diagnostic(`${await proveKinds(chroot, withoutKernel)} calls of dpkg undone`)
})

const places: readonly ChrootOptions[] = [
  { fileSystem: 'xfs' },
  { fileSystem: 'btrfs', apart: ['/var'] },
  { fileSystem: 'tmpfs' },
  { fileSystem: 'ext4', apart: ['/usr', '/var/lib'] },
]
for (const place of places)
  test(`the same on ${place.fileSystem}${place.apart ? ` with ${place.apart.join(' and ')} apart` : ''}`, async () => {
    await using chroot = await openChroot(place)
    const few = ['tiny-plain', 'tiny-hardlink', 'tiny-rights', 'tiny-swap']
    await proveKinds(
      chroot,
      tinyKinds.filter(({ name }) => few.includes(name)),
    )
    assert.equal(
      (await chroot.sh('ls -d /*/.vml-stage /.vml-stage /var/lib/.vml-stage', { mayFail: true })).stdout,
      '',
    )
  })
