import assert from 'node:assert/strict'
import { test } from 'node:test'
import { asRaw } from '../base/raw-text.ts'
import { VmlError } from '../base/failure.ts'
import { parseRawPath, type RawPath, rootPath } from '../model/raw-path.ts'
import type { PackageProof, PackageSystem } from '../packages/package-system.ts'
import type { PackagesNow } from './packages-now.ts'
import { provePackages, provePackagesAfterCrash } from './prove-packages.ts'
import type { UndoPlan } from './undo.ts'
import type { Workplace } from './workplace.ts'

const path = (text: string): RawPath => parseRawPath(asRaw(text)) ?? rootPath

/** A machine of which one package was brought to another version. */
function machine(prove: PackageSystem['prove']) {
  const warnings: string[] = []
  const state = { manager: 'dpkg' }
  const system = {
    manager: 'dpkg',
    read: () => Promise.resolve(state),
    transitions: () => [
      { name: 'joe', architecture: 'all', fate: 'downgraded' as const, from: '4.6', to: '4.5' },
    ],
    prove,
  }
  const place = {
    packageSystems: [system],
    reporter: { progress: () => {}, warn: ({ warning }: { warning: string }) => warnings.push(warning) },
  }
  return {
    warnings,
    proveUndo: async (plan: Pick<UndoPlan, 'paths' | 'transactions'>, kind: UndoPlan['kind'] = 'undo') =>
      await provePackages(place as unknown as Workplace, {
        ...plan,
        kind,
        systems: [{ system: system as unknown as PackageSystem, transitions: system.transitions() }],
      }),
    prove: async () =>
      await provePackagesAfterCrash(place as unknown as Workplace, {
        packages: [state] as unknown as PackagesNow,
        changes: [{ path: path('/usr/bin/joe') }],
      }),
  }
}

/** Of one path: `before` the newer and the older of two transactions, what comes back, and how. */
function planOf(
  how: 'restored' | 'merged' | 'stays',
  [newer, older]: readonly string[],
  wanted: string | undefined,
) {
  const of = (mark: string | undefined) =>
    mark === undefined ? undefined : { type: 'file', mode: 0o755, uid: 0, gid: 0, mtimeNs: 0n, sha256: mark }
  const change = (mark: string | undefined) => ({ path: path('/usr/bin/joe'), before: of(mark) })
  return {
    paths:
      how === 'stays'
        ? { paths: [], conflicts: [{ path: path('/usr/bin/joe'), was: of(newer) }] }
        : { paths: [{ path: path('/usr/bin/joe'), how, wanted: of(wanted) }], conflicts: [] },
    transactions: [{ changes: [change(newer)] }, { changes: older === undefined ? [] : [change(older)] }],
  } as unknown as Pick<UndoPlan, 'paths' | 'transactions'>
}

test("a package's file that comes back exactly as it was before is not its package's, and told; any other that differs fails", async () => {
  const differing: PackageSystem['prove'] = (_, { isExpected }) =>
    Promise.resolve(
      isExpected({ path: path('/usr/bin/joe'), configuration: false, missing: true })
        ? { validations: [] }
        : { validations: [], failure: { sentence: 'joe is broken', details: {} } },
    )
  const { proveUndo } = machine(differing)
  const told = [
    {
      name: 'files as before',
      outcome: 'not run',
      message: 'not as its package has it: /usr/bin/joe',
    },
  ]
  for (const asBefore of [
    planOf('restored', ['patched'], 'patched'),
    planOf('restored', ['other', 'patched'], 'patched'),
    planOf('restored', [], undefined),
  ])
    assert.deepEqual(await proveUndo(asBefore).catch((error: unknown) => String(error)), told)
  for (const another of [
    planOf('merged', ['patched'], 'patched'),
    planOf('restored', ['patched', 'other'], 'patched'),
    planOf('restored', ['patched'], undefined),
    planOf('stays', ['patched'], undefined),
  ])
    for (const kind of ['undo', 'redo'] as const)
      await assert.rejects(proveUndo(another, kind), {
        message: `The ${kind} does not stand the proof: joe is broken`,
        hint: `Everything was put back as it was before the ${kind}`,
      })
})

test('a file that its package lists by its old name, before /bin became a link, is the one that the undo has changed', async () => {
  const seen: boolean[] = []
  const { proveUndo } = machine((_, { isExpected }) => {
    for (const each of ['/bin/joe', '/usr/bin/joe', '/bin/other'])
      seen.push(isExpected({ path: path(each), configuration: false, missing: false }))
    return Promise.resolve({ validations: [] })
  })
  await proveUndo(planOf('merged', ['patched'], 'patched'))
  assert.deepEqual(seen, [false, false, true])
})

test('packages are proved after a crash, and what is of others may differ, and is told', async () => {
  const proof: PackageProof = { validations: [{ name: 'dpkg --audit', outcome: 'passed' }] }
  const { prove, warnings } = machine((_, { transitions, isExpected }) => {
    assert.equal(transitions.length, 1)
    const seen = ['/usr/bin/joe', '/usr/bin/other'].map((each) =>
      isExpected({ path: path(each), configuration: false, missing: false }),
    )
    assert.deepEqual(seen, [false, true])
    return Promise.resolve(proof)
  })
  assert.deepEqual(await prove(), [
    ...proof.validations,
    { name: 'files as before', outcome: 'not run', message: 'not as its package has it: /usr/bin/other' },
  ])
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
