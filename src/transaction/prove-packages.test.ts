import assert from 'node:assert/strict'
import { test } from 'node:test'
import { asRaw } from '../base/raw-text.ts'
import { VmlError } from '../base/failure.ts'
import { parseRawPath, type RawPath, rootPath } from '../model/raw-path.ts'
import type { PackageProof, PackageSystem } from '../packages/package-system.ts'
import type { PackagesNow } from './packages-now.ts'
import { provePackagesAfterCrash } from './prove-packages.ts'
import type { Workplace } from './workplace.ts'

const path = (text: string): RawPath => parseRawPath(asRaw(text)) ?? rootPath

/** A machine of which one package was brought to another version. */
function machine(prove: PackageSystem['prove']) {
  const warnings: string[] = []
  const state = { manager: 'dpkg' }
  const system = {
    manager: 'dpkg',
    read: () => Promise.resolve(state),
    transitions: () => [{ name: 'joe', architecture: 'all', fate: 'downgraded', from: '4.6', to: '4.5' }],
    prove,
  }
  const place = {
    packageSystems: [system],
    reporter: { progress: () => {}, warn: ({ warning }: { warning: string }) => warnings.push(warning) },
  }
  return {
    warnings,
    prove: async () =>
      await provePackagesAfterCrash(place as unknown as Workplace, {
        packages: [state] as unknown as PackagesNow,
        changes: [{ path: path('/usr/bin/joe') }],
      }),
  }
}

test('packages are proved after a crash, and what is of others may differ', async () => {
  const proof: PackageProof = { validations: [{ name: 'dpkg --audit', outcome: 'passed' }] }
  const { prove, warnings } = machine((_, { transitions, isExpected }) => {
    assert.equal(transitions.length, 1)
    const seen = ['/usr/bin/joe', '/usr/bin/other'].map((each) =>
      isExpected({ path: path(each), configuration: false }),
    )
    assert.deepEqual(seen, [false, true])
    return Promise.resolve(proof)
  })
  assert.deepEqual(await prove(), proof.validations)
  assert.deepEqual(warnings, [])
})

test('what does not stand the proof after a crash is told and recorded, and the recovery ends', async () => {
  const failing: readonly PackageSystem['prove'][] = [
    () => Promise.resolve({ validations: [], failure: { sentence: 'joe is broken', details: {} } }),
    () => Promise.reject(new VmlError('remote.command', 'joe is broken')),
  ]
  for (const each of failing) {
    const { prove, warnings } = machine(each)
    assert.deepEqual(await prove(), [{ name: 'packages', outcome: 'failed', message: 'joe is broken' }])
    assert.match(
      warnings.join('\n'),
      /^The packages do not stand the proof: joe is broken\. Nothing was taken back/,
    )
  }
})
