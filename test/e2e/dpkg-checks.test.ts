// apt and dpkg themselves as those who know: whether a planned state holds together, whether what was made of it is right, and who may change it.
import assert from 'node:assert/strict'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, afterEach, beforeEach, describe, test } from 'node:test'
import { isFailure } from '../../src/base/failure.ts'
import { rawFromString } from '../../src/base/raw-text.ts'
import type { RawPath } from '../../src/model/raw-path.ts'
import { takeDpkgLocks } from '../../src/packages/dpkg-locks.ts'
import { checkStatus, proposeChanges, unfinishedPackages } from '../../src/packages/dpkg-oracle.ts'
import { proveDpkg, unexpected } from '../../src/packages/dpkg-proof.ts'
import { systemClock } from '../../src/base/clock.ts'
import { openChroot } from '../chroot.ts'
import { publish, shellOf, treeDifference, wholeTree } from '../apt-hooks-fixture.ts'

const root = await openChroot()
after(async () => await root[Symbol.asyncDispose]())
await publish(root, [
  { name: 'alpha', version: '1' },
  { name: 'alpha', version: '2' },
  { name: 'beta', version: '1', control: 'Depends: alpha\n' },
  { name: 'gamma', version: '1', control: 'Depends: alpha (>= 2)\n' },
  { name: 'broken', version: '1', postinst: 'exit 1' },
])

const shell = shellOf(root)
const at = (path: string) => join(root.path, path)
const run = (...argv: readonly string[]) => root.run(argv, { mayFail: true })
const dpkg = (...words: readonly string[]) => run('dpkg', ...words)
const deb = (name: string, version: string) => `/srv/tiny/${name}_${version}_all.deb`
const planned = '/srv/planned'

beforeEach(async () => {
  assert.equal((await dpkg('-i', deb('alpha', '2'), deb('beta', '1'))).status, 0)
})
afterEach(async () => {
  await dpkg('--purge', '--force-all', 'alpha', 'beta', 'gamma', 'broken')
})

/** The status file without these packages. */
function plan(...without: readonly string[]): RawPath {
  const paragraphs = readFileSync(at('var/lib/dpkg/status'), 'latin1').split('\n\n')
  const left = paragraphs.filter((each) => !without.includes(/^Package: (.*)$/m.exec(each)?.[1] ?? ''))
  writeFileSync(at(planned), left.join('\n\n'), 'latin1')
  return rawFromString(planned) as RawPath
}

describe('a planned state', () => {
  test('holds together or not as apt says, for root and for anybody, and nothing is changed by asking', async () => {
    const alone = plan('alpha')
    const before = wholeTree(root)
    for (const asking of [shell, shellOf(root, 65_534)])
      assert.deepEqual(await checkStatus(asking, { status: alone }), {
        consistent: false,
        broken: [{ package: 'beta', relation: 'Depends', alternatives: [{ name: 'alpha' }] }],
        sentences: [
          "Unmet dependencies. Try 'apt --fix-broken install' with no packages (or specify a solution).",
        ],
      })
    assert.deepEqual(treeDifference(before, wholeTree(root)), [])
    assert.deepEqual(await checkStatus(shell, { status: plan('alpha', 'beta') }), { consistent: true })
    assert.deepEqual(await checkStatus(shell), { consistent: true })
  })

  test('that is no status file is told in the words of apt', async () => {
    writeFileSync(at(planned), 'Package alpha\n')
    const answer = await checkStatus(shell, { status: rawFromString(planned) as RawPath })
    assert.ok(!answer.consistent)
    assert.match(answer.sentences.join(' '), /srv_planned|srv\/planned/)
  })
})

describe('what else would do', () => {
  test('is proposed by apt: what goes along, a downgrade, and nothing is changed by asking', async () => {
    const before = wholeTree(root)
    assert.deepEqual(await proposeChanges(shell, [{ name: 'alpha', want: 'remove' }], { purge: true }), {
      solved: true,
      steps: [
        { action: 'purge', package: 'beta', from: '1' },
        { action: 'purge', package: 'alpha', from: '2' },
      ],
    })
    assert.deepEqual(
      await proposeChanges(shellOf(root, 65_534), [{ name: 'alpha', want: { version: '1' } }]),
      {
        solved: true,
        steps: [
          { action: 'install', package: 'alpha', from: '2', to: '1' },
          { action: 'configure', package: 'alpha', to: '1' },
        ],
      },
    )
    assert.deepEqual(treeDifference(before, wholeTree(root)), [])
  })

  test('is told as impossible with the reason', async () => {
    const kept = await proposeChanges(shell, [
      { name: 'alpha', want: 'remove' },
      { name: 'beta', want: 'keep' },
    ])
    assert.ok(!kept.solved)
    assert.deepEqual(kept.broken, [
      { package: 'beta', relation: 'Depends', alternatives: [{ name: 'alpha' }] },
    ])
    const gone = await proposeChanges(shell, [{ name: 'alpha', want: { version: '3' } }])
    assert.ok(!gone.solved)
    assert.deepEqual(gone.sentences, ["Version '3' for 'alpha' was not found"])
  })
})

describe('the proof', () => {
  const packages = ['alpha', 'beta', 'libc6:amd64']

  test('of a machine in order finds nothing', async () => {
    assert.equal(
      unexpected(await proveDpkg(shell, { packages }), () => false),
      undefined,
    )
  })

  test('finds each file that is not the package, and takes what was expected', async () => {
    writeFileSync(at('etc/alpha.conf'), 'mine\n')
    rmSync(at('usr/share/beta/file'))
    const proof = await proveDpkg(shell, { packages })
    assert.deepEqual(proof.differences, [
      { path: '/etc/alpha.conf', configuration: true, difference: 'changed' },
      { path: '/usr/share/beta/file', configuration: false, difference: 'missing' },
    ])
    assert.deepEqual(unexpected(proof, ({ configuration }) => configuration)?.differences.length, 1)
  })

  test('finds what is half configured and what is needed and gone', async () => {
    await dpkg('-i', deb('broken', '1'))
    await dpkg('--purge', '--force-all', 'alpha')
    const database = at('var/lib/dpkg')
    // As an undo asks: what dpkg says of our own lock is no problem, and none of those that follow.
    await using _ = await takeDpkgLocks({ database, clock: systemClock })
    const { audit, consistency } = await proveDpkg(shell, { packages: ['beta'] })
    assert.match(audit[0] ?? '', /^The following packages/)
    assert.ok(audit.some((line) => line.startsWith(' broken ')))
    assert.ok(!consistency.consistent)
    assert.deepEqual(unfinishedPackages(readFileSync(at('var/lib/dpkg/status'), 'latin1')), [
      { name: 'broken', state: 'half-configured' },
    ])
  })

  test('of a package that is not installed is refused', async () => {
    await assert.rejects(proveDpkg(shell, { packages: ['none'] }), (error: unknown) =>
      isFailure(error, 'remote.command'),
    )
  })
})

describe("dpkg's locks", () => {
  const request = { database: at('var/lib/dpkg'), clock: systemClock }

  test('keep apt and dpkg out until they are given up', async () => {
    const locks = await takeDpkgLocks(request)
    assert.match((await dpkg('-r', 'beta')).stderr, /dpkg frontend lock was locked by another process/)
    assert.match((await run('apt-get', '-y', 'remove', 'beta')).stderr, /Could not get lock .*lock-frontend/)
    await locks[Symbol.asyncDispose]()
    assert.equal((await dpkg('-r', 'beta')).status, 0)
  })

  test('let in what VML runs itself, and nobody else', async () => {
    await using locks = await takeDpkgLocks(request)
    const own = [
      'env',
      ...Object.entries(locks.environment).map(([name, value]) => `${name}=${value}`),
      'dpkg',
      '-r',
      'beta',
    ]
    assert.match((await run(...own)).stderr, /dpkg database lock was locked by another process/)
    await locks.withDatabaseFree(async () => {
      assert.notEqual((await dpkg('-r', 'beta')).status, 0)
      assert.equal((await run(...own)).status, 0)
    })
    assert.notEqual((await run(...own)).status, 0)
  })

  test('that somebody holds are told with who it is, and waited for as long as is asked', async () => {
    await using _ = await takeDpkgLocks(request)
    const waits: number[] = []
    let now = 0
    const clock = { now: () => now, sleep: (ms: number) => Promise.resolve(void (now += ms)) }
    await assert.rejects(
      takeDpkgLocks({ ...request, clock, waitMs: 1000, onWait: ({ pid }) => void waits.push(pid) }),
      (error: unknown) =>
        isFailure(error, 'store.locked') &&
        error.message.includes(`(process ${process.pid}) holds the lock`) &&
        error.details['pid'] === process.pid,
    )
    assert.deepEqual(waits, [process.pid])
    assert.ok(now >= 1000)
  })

  test('of a machine without dpkg are told as such', async () => {
    await assert.rejects(takeDpkgLocks({ ...request, database: at('none') }), (error: unknown) =>
      isFailure(error, 'unsupported'),
    )
  })
})
