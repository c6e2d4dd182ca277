import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { diffPackages } from './package-diff.ts'
import type { PackageManagerName, PackageSet } from './packages.ts'

test('versions go up, down or aside in the order of the machine’s manager', () => {
  const changes = diffPackages(
    set('dpkg', 'up 1.9 all', 'down 1:1 all', 'aside 1.0 all', 'same 3 all', 'gone 1 all'),
    set('dpkg', 'up 1.10 all', 'down 2 all', 'aside 1.00 all', 'same 3 all', 'new 1 all'),
  )
  assert.deepEqual(changes, [
    { kind: 'changed', name: 'aside', architecture: 'all', from: '1.0', to: '1.00' },
    { kind: 'downgraded', name: 'down', architecture: 'all', from: '1:1', to: '2' },
    { kind: 'removed', name: 'gone', architecture: 'all', version: '1' },
    { kind: 'installed', name: 'new', architecture: 'all', version: '1' },
    { kind: 'upgraded', name: 'up', architecture: 'all', from: '1.9', to: '1.10' },
  ])
  assert.equal(diffPackages(set('rpm', 'x 1.0a x'), set('rpm', 'x 1.0.1 x'))[0]?.kind, 'upgraded')
})

test('the same name for two architectures is two packages', () => {
  const changes = diffPackages(set('dpkg', 'c 1 amd64', 'c 1 i386'), set('dpkg', 'c 2 amd64'))
  assert.deepEqual(changes.map(brief), ['c amd64 upgraded', 'c i386 removed'])
})

test('a package that changes its architecture with its version is upgraded', () => {
  assert.deepEqual(diffPackages(set('dpkg', 'd 1 all'), set('dpkg', 'd 2 amd64')).map(brief), [
    'd amd64 upgraded',
  ])
  assert.deepEqual(diffPackages(set('dpkg', 'd 1 all'), set('dpkg', 'd 1 amd64')).map(brief), [
    'd all removed',
    'd amd64 installed',
  ])
})

test('kernels and keys that stand side by side come and go', () => {
  const changes = diffPackages(
    set('rpm', 'kernel 6.1-1 x86_64', 'kernel 6.2-1 x86_64', 'gpg-pubkey a-1 (none)'),
    set('rpm', 'kernel 6.2-1 x86_64', 'kernel 6.3-1 x86_64', 'gpg-pubkey b-1 (none)'),
  )
  assert.deepEqual(changes, [
    { kind: 'removed', name: 'gpg-pubkey', architecture: '(none)', version: 'a-1' },
    { kind: 'installed', name: 'gpg-pubkey', architecture: '(none)', version: 'b-1' },
    { kind: 'removed', name: 'kernel', architecture: 'x86_64', version: '6.1-1' },
    { kind: 'installed', name: 'kernel', architecture: 'x86_64', version: '6.3-1' },
  ])
})

test('inventories of two managers have nothing in common', () => {
  assert.deepEqual(diffPackages(set('dpkg', 'a 1 all'), set('apk', 'a 1 all')).map(brief), [
    'a all removed',
    'a all installed',
  ])
})

test('applying the changes to one side gives the other', () => {
  const inventory = fc.uniqueArray(
    fc.record({
      name: fc.constantFrom('a', 'b', 'gpg-pubkey'),
      version: fc.constantFrom('1', '2', '1.0', '1.00'),
      architecture: fc.constantFrom('all', 'amd64'),
    }),
    { selector: (one) => Object.values(one).join(' ') },
  )
  fc.assert(
    fc.property(inventory, inventory, (before, after) => {
      const state = new Map<string, number>()
      const count = (key: string, by: number) => state.set(key, (state.get(key) ?? 0) + by)
      for (const { name, version } of before) count(`${name} ${version}`, 1)
      const left: PackageSet = { manager: 'dpkg', packages: before }
      for (const change of diffPackages(left, { manager: 'dpkg', packages: after })) {
        if ('version' in change)
          count(`${change.name} ${change.version}`, change.kind === 'installed' ? 1 : -1)
        else {
          count(`${change.name} ${change.from}`, -1)
          count(`${change.name} ${change.to}`, 1)
        }
      }
      for (const { name, version } of after) count(`${name} ${version}`, -1)
      assert.deepEqual(
        [...state.values()].filter((value) => value !== 0),
        [],
      )
    }),
  )
})

function set(manager: PackageManagerName, ...packages: readonly string[]): PackageSet {
  return {
    manager,
    packages: packages.map((text) => {
      const [name = '', version = '', architecture = ''] = text.split(' ')
      return { name, version, architecture }
    }),
  }
}

function brief(change: { name: string; architecture: string; kind: string }): string {
  return `${change.name} ${change.architecture} ${change.kind}`
}
