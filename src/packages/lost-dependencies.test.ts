import assert from 'node:assert/strict'
import { test } from 'node:test'
import { lostDependencies } from './lost-dependencies.ts'

const stanza = (name: string, version: string, fields = '') =>
  `Package: ${name}\nStatus: install ok installed\nVersion: ${version}\nArchitecture: all\n${fields}\n`

test('C02: what a new version provides no longer is told with who needs it and who offered it', () => {
  const user = stanza('user', '1', 'Depends: service (>= 2) | other\n')
  const before = stanza('library', '1', 'Provides: service (= 2)\n') + user
  assert.deepEqual(lostDependencies(before, stanza('library', '2') + user), [
    { package: 'user', needs: 'service (>= 2) | other', offeredBy: ['library 1'] },
  ])
  assert.deepEqual(lostDependencies(before, before), [])
})

test('C02: what another package offers now, what was missing before, and who is gone are no losses', () => {
  const user = stanza('user', '1', 'Depends: service\nPre-Depends: never-there\n')
  const before = stanza('one', '1', 'Provides: service\n') + user
  assert.deepEqual(lostDependencies(before, stanza('two', '1', 'Provides: service\n') + user), [])
  assert.deepEqual(lostDependencies(before, stanza('one', '2')), [])
  const removed = user.replace('install ok installed', 'deinstall ok config-files')
  assert.deepEqual(lostDependencies(before, removed), [])
})
