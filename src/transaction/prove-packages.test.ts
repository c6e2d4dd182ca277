import assert from 'node:assert/strict'
import { test } from 'node:test'
import { asRaw } from '../base/raw-text.ts'
import { VmlError } from '../base/failure.ts'
import { parseRawPath, type RawPath, rootPath } from '../model/raw-path.ts'
import type { PackageProof, PackageSystem } from '../packages/package-system.ts'
import type { PackagesNow, TouchedPackage } from './packages-now.ts'
import { provePackages, provePackagesAfterCrash } from './prove-packages.ts'
import type { UndoPlan } from './undo.ts'
import type { Workplace } from './workplace.ts'

const path = (text: string): RawPath => parseRawPath(asRaw(text)) ?? rootPath

/** A package that stays, with what differs from it. */
type Touched = TouchedPackage & { readonly differing: readonly string[] }

/** A machine of which one package was brought to another version. */
function machine(prove: PackageSystem['prove'], touched?: Touched) {
  const warnings: string[] = []
  const state = { manager: 'dpkg' }
  const system = {
    manager: 'dpkg',
    read: () => Promise.resolve(state),
    transitions: () => [
      { name: 'joe', architecture: 'all', fate: 'downgraded' as const, from: '4.6', to: '4.5' },
    ],
    prove,
    verify: () =>
      Promise.resolve(
        touched?.differing.map((each) => ({ path: path(each), configuration: false, missing: false })) ?? [],
      ),
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
        systems: [
          {
            system: system as unknown as PackageSystem,
            transitions: system.transitions(),
            touched: touched === undefined ? [] : [touched],
          },
        ],
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

test('what comes back whole is of the version to which a package that stays was brought since, or fails; else it may differ as before, and is told', async () => {
  const undo = async (changedBy: string | undefined, how: 'restored' | 'merged', differing: string) => {
    const { proveUndo } = machine(() => Promise.resolve({ validations: [] }), {
      package: { name: 'joe', version: '2', architecture: 'all' },
      ...{ changedBy, differing: [differing] },
    })
    return await proveUndo(planOf(how, ['old'], 'old'))
  }
  for (const file of ['/usr/bin/joe', '/bin/joe'])
    await assert.rejects(
      undo('#3', 'restored', file),
      /does not stand the proof: "\/usr\/bin\/joe" is not its package's: joe was changed again by #3/,
    )
  assert.deepEqual(await undo('#3', 'merged', '/usr/bin/joe'), [])
  assert.deepEqual(await undo('#3', 'restored', '/usr/bin/other'), [])
  assert.deepEqual(
    (await undo(undefined, 'restored', '/usr/bin/joe')).map(({ name, message }) => [name, message]),
    [['files as before', 'not as its package has it: /usr/bin/joe']],
  )
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
