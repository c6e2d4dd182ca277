// A kernel with its modules, its initrd and the boot menu: installed, upgraded and removed, and each taken back after later work.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { type MachineStep, renderResult, undoRealPackages } from '../transaction-packages.ts'
import type { AllowedDifference } from '../tree-compare.ts'

// Debian's point release has the one, its security archive the other: each brings a package with a name of its own.
const older = ['linux-image-cloud-amd64=6.1.176-1', 'linux-image-6.1.0-50-cloud-amd64']
const newer = ['linux-image-cloud-amd64=6.1.192-2', 'linux-image-6.1.0-56-cloud-amd64']

/** grub asks which device `/` lies on: a loop device, of which it would know the file. It is told to write to none, and makes its menu. */
const withGrub: MachineStep = async (machine) => {
  const { chroot } = machine
  await chroot.sh(
    `set -e
    mknod "$(findmnt -nvo SOURCE /)" b $(findmnt -nvo MAJ:MIN / | tr : " ")
    cat >/usr/sbin/losetup
    mkdir -p /boot/grub
    echo 'grub-pc grub-pc/install_devices_empty boolean true' >/run/answers`,
    { input: '#!/bin/sh\necho "$1: []: ($1)"\n' },
  )
  await machine.provide(['install', 'initramfs-tools', 'grub-pc'])
  await chroot.sh('debconf-set-selections /run/answers')
  await machine.apt(['install', 'initramfs-tools', 'grub-pc'])
  await chroot.sh('update-grub')
}

/** Each machine lies on a loop device of its own, and the menu says which. */
const numberOfLoop: AllowedDifference = {
  name: 'number of the loop device',
  allows: ({ path, kind }, { one, other }) => {
    if (path !== '/boot/grub/grub.cfg' || kind !== 'content') return false
    const [left, right] = [one, other].map(({ root }) =>
      readFileSync(`${root}/boot/grub/grub.cfg`, 'utf8').replaceAll(/loop\d+/g, 'loop'),
    )
    return left === right
  },
}
const tree: MachineStep = async (machine) => await machine.apt(['install', 'tree'])

test('a kernel that was installed goes, with its initrd, its modules and its line of the boot menu', async (context) => {
  const result = await undoRealPackages({
    base: withGrub,
    make: async (machine) => await machine.apt(['install', ...older]),
    later: tree,
    allowed: [numberOfLoop],
  })
  context.diagnostic(renderResult('installation of a kernel', result))
  assert.equal(result.difference, '')
})

test('a newer kernel goes, and the initrd of the older one, which was changed since, means the same', async (context) => {
  const result = await undoRealPackages({
    base: async (machine) => {
      await withGrub(machine)
      await machine.apt(['install', ...older])
    },
    make: async (machine) => await machine.apt(['install', ...newer]),
    later: async (machine) => {
      await tree(machine)
      await machine.chroot.sh(
        'echo loop >>/etc/initramfs-tools/modules && update-initramfs -u -k 6.1.0-50-cloud-amd64',
      )
    },
    allowed: [numberOfLoop],
  })
  context.diagnostic(renderResult('upgrade of a kernel', result))
  assert.equal(result.difference, '')
})

test('a kernel that was removed and purged is there again, with an initrd that means the same', async (context) => {
  const result = await undoRealPackages({
    base: async (machine) => {
      await withGrub(machine)
      await machine.apt(['install', ...older])
      await machine.apt(['install', ...newer])
    },
    make: async (machine) => await machine.apt(['purge', 'linux-image-6.1.0-50-cloud-amd64']),
    later: tree,
    allowed: [numberOfLoop],
  })
  context.diagnostic(renderResult('purge of a kernel', result))
  assert.equal(result.difference, '')
})
