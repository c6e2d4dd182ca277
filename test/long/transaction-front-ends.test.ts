// Whoever has apt's library do the work instead of apt-get: recorded with no further action, and taken back exactly.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type MachineStep,
  type RealMachine,
  renderResult,
  undoRealPackages,
} from '../transaction-packages.ts'
import type { AllowedDifference } from '../tree-compare.ts'

/** From Debian's security archive, as the machine's origin calls them here. */
const upgrades = ['libexpat1', 'libexpat1-dev', 'openssl', 'libssl3', 'libssl-dev']
const joe = (version: string) => ({
  name: 'joe',
  version,
  files: { '/usr/bin/joe': `${version}\n`.repeat(9000), '/etc/joe.conf': `version=${version}\n` },
  conffiles: ['/etc/joe.conf'],
})

const pkcon = 'timeout 300 pkcon --plain --noninteractive'

interface FrontEnd {
  readonly name: string
  /** What has to be installed for it. */
  readonly packages: readonly string[]
  /** Set up, and started once with nothing to do: its own memory of having run is no part of a transaction. */
  readonly prepare?: string
  readonly upgrade: string
  readonly mode: 'staged' | 'live'
}

const frontEnds: readonly FrontEnd[] = [
  {
    name: 'unattended-upgrade',
    packages: ['unattended-upgrades'],
    prepare: `echo 'Unattended-Upgrade::Origins-Pattern { "origin=Tiny"; };' >/etc/apt/apt.conf.d/52tiny
      touch /etc/apt/sources.list
      unattended-upgrade`,
    upgrade: 'unattended-upgrade',
    // It calls dpkg by its path.
    mode: 'live',
  },
  {
    name: 'unattended-upgrade in one step',
    packages: ['unattended-upgrades'],
    prepare: `echo 'Unattended-Upgrade::Origins-Pattern { "origin=Tiny"; }; Unattended-Upgrade::MinimalSteps "false";' >/etc/apt/apt.conf.d/52tiny
      touch /etc/apt/sources.list
      unattended-upgrade`,
    upgrade: 'unattended-upgrade',
    mode: 'live',
  },
  {
    name: 'a program with python-apt',
    packages: ['python3-apt'],
    upgrade: `python3 -c '
import apt
cache = apt.Cache()
cache.upgrade()
assert cache.commit()'`,
    mode: 'staged',
  },
  {
    name: 'aptitude',
    packages: ['aptitude'],
    prepare: 'aptitude -y upgrade',
    upgrade: 'aptitude -y upgrade',
    mode: 'staged',
  },
  {
    name: 'PackageKit, which graphical programs use',
    packages: ['packagekit', 'packagekit-tools', 'dbus', 'polkitd'],
    // It wants a bus, and a way to a network before it reads any file.
    prepare: `mkdir -p /run/dbus && dbus-daemon --system --fork && ip route add default dev lo
      ${pkcon} get-updates || [ $? = 5 ]`,
    // apt-get update has its daemon started, which has then read apt's configuration from before.
    upgrade: `while pidof packagekitd >/dev/null; do kill $(pidof packagekitd) || :; sleep 0.1; done
      ${pkcon} update`,
    mode: 'staged',
  },
]

/** What these programs write down of themselves when apt's run has ended: no transaction has it. */
const ownNotes: AllowedDifference = {
  name: 'notes of the front end',
  allows: ({ path }) =>
    /^\/var\/lib\/(?:aptitude\/pkgstates(?:\.old)?|PackageKit\/transactions\.db)$/.test(path),
}

for (const { name, packages, prepare, upgrade, mode } of frontEnds)
  test(`an upgrade by ${name} is recorded and taken back exactly`, async (context) => {
    const base: MachineStep = async (machine) => {
      await machine.apt(['install', ...packages])
      await machine.archive.publish(joe('1'))
      await machine.chroot.run(['apt-get', 'install', '-y', 'joe'])
      if (prepare !== undefined) await machine.chroot.sh(`set -e; ${prepare}`)
      await publishUpgrades(machine)
    }
    const result = await undoRealPackages({
      archive: { method: 'copy' },
      base,
      make: async ({ chroot }) => void (await chroot.sh(`set -e; ${upgrade}`)),
      later: async (machine) => await machine.apt(['install', 'tree']),
      allowed: [ownNotes],
    })
    assert.equal(result.difference, '')
    assert.ok(result.packages > 4, `${result.packages} packages were upgraded`)
    assert.deepEqual([...new Set(result.transactions.map((each) => each.mode))], [mode])
    context.diagnostic(renderResult(name, result))
  })

/** Newer versions, and a configuration file that nobody has touched. */
async function publishUpgrades(machine: RealMachine): Promise<void> {
  await machine.provide(['install', ...upgrades])
  await machine.archive.publish(joe('2'))
}
