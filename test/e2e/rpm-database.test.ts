// rpm's database taken back by one transaction while later ones stay, with rpm as the judge.
import assert from 'node:assert/strict'
import { createReadStream, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, beforeEach, test } from 'node:test'
import { asRaw } from '../../src/base/raw-text.ts'
import { isFailure } from '../../src/base/failure.ts'
import { parseRawPath } from '../../src/model/raw-path.ts'
import { planRpmUndo, reversed, type RpmDatabaseChange } from '../../src/packages/rpm-database-change.ts'
import { readRpmDatabaseChange, sealRpmDatabase, writeRpmDatabase } from '../../src/packages/rpm-database.ts'
import {
  exportRpmDatabase,
  rpmDatabaseFolder,
  rpmName,
  type RpmEntry,
} from '../../src/packages/rpm-headers.ts'
import { brokenRelations, newlyBroken } from '../../src/packages/rpm-oracle.ts'
import { rpmOwners } from '../../src/packages/rpm-owners.ts'
import { verifyRpmFiles } from '../../src/packages/rpm-proof.ts'
import { prefixedShell } from '../../src/source/userlands.fixture.ts'
import { openRpmFile } from '../../src/wire/rpm-file.ts'
import type { RpmIdentity } from '../../src/wire/rpm-package.ts'
import type { Shell } from '../../src/wire/shell.ts'
import { openRpmChroot, type RpmChroot } from '../rpm-chroot.ts'
import { buildRpms, rpmPath, type RpmSpec } from '../rpm-packages.ts'

let chroot: RpmChroot
let shell: Shell
let database = ''
before(async () => {
  chroot = await openRpmChroot()
  shell = prefixedShell(chroot.prefix, 'the chroot')
  database = await rpmDatabaseFolder(shell)
  await buildRpms(chroot, specs)
  await chroot.run(['cp', '-a', database, '/root/empty-database'])
})
after(async () => await chroot[Symbol.asyncDispose]())

const log = (word: string) => `echo ${word} $1 >>/root/log`
const a = (version: string): RpmSpec => ({
  name: 'a',
  version,
  install: `mkdir -p $R/opt/a $R/etc; echo ${version} >$R/opt/a/bin; echo ${version} >$R/etc/a.conf; ln $R/opt/a/bin $R/opt/a/link; echo n >$R/opt/a/new${version}`,
  sections: `%pre\n${log(`a${version} pre`)}\n%post\n${log(`a${version} post`)}\n%postun\n${log(`a${version} postun`)}`,
  files: [
    '%dir /opt/a',
    '%caps(cap_net_raw=ep) /opt/a/bin',
    '%caps(cap_net_raw=ep) /opt/a/link',
    '/opt/a/new*',
    '%config(noreplace) /etc/a.conf',
  ],
})
const kernel = (version: string): RpmSpec => ({
  name: 'kernel',
  version,
  install: `mkdir -p $R/boot; echo ${version} >$R/boot/vmlinuz-${version}`,
  files: [`/boot/vmlinuz-${version}`],
})
const specs: readonly RpmSpec[] = [
  ...['1', '2', '3'].map(a),
  ...['1', '2', '3'].map(kernel),
  { name: 'needs-a2', version: '1', head: ['Requires: a >= 2'] },
  { name: 'needs-file', version: '1', head: ['Requires: /opt/a/new2'] },
  { name: 'against-a1', version: '1', head: ['Conflicts: a < 2'] },
  {
    name: 'other',
    version: '1',
    head: ['Epoch: 4'],
    install: 'mkdir -p $R/opt; echo o >$R/opt/other',
    files: ['/opt/other'],
  },
  { name: 'late', version: '1', head: ['Provides: cap = 2'] },
]
const rpmOf = (text: string) => {
  const at = text.lastIndexOf('-')
  return rpmPath({ name: text.slice(0, at), version: text.slice(at + 1) })
}
const rpm = async (...words: string[]) => void (await chroot.run(['rpm', '--quiet', ...words]))

/** Runs one transaction and tells what it changed in the database, as an engine with a stage would know. */
async function transaction(...words: string[]): Promise<RpmDatabaseChange> {
  await chroot.sh(`rm -rf /root/before /root/scratch; cp -a ${database} /root/before`)
  await rpm(...words)
  return await readRpmDatabaseChange(shell, {
    before: '/root/before',
    after: database,
    scratch: '/root/scratch',
  })
}

async function entries(folder = database): Promise<RpmEntry[]> {
  return await Array.fromAsync(exportRpmDatabase(shell, folder))
}

const namesOf = (found: readonly RpmIdentity[]) => found.map(rpmName).sort()
const planned = '/root/planned'

/** Puts the planned database in the place of the one in use, as a commit would. */
async function replace(): Promise<void> {
  const { put, remove } = await sealRpmDatabase(shell, { planned, inUse: database })
  for (const name of remove) await chroot.run(['rm', `${database}/${name}`])
  for (const name of put) await chroot.run(['mv', `${planned}/${name}`, `${database}/${name}`])
}

beforeEach(async () => {
  await chroot.sh(
    `rm -rf ${planned} /root/scratch ${database} /opt/* /etc/a.conf* /boot/* /root/log; cp -a /root/empty-database ${database}`,
  )
})

test('an upgrade is taken back in the database to the very header that was there, and what was installed later stays', async (context) => {
  await rpm('-i', rpmOf('a-1'), rpmOf('kernel-1'))
  const [before] = (await entries()).filter(({ name }) => name === 'a')
  const change = await transaction('-U', rpmOf('a-2'), rpmOf('other-1'))
  assert.deepEqual(
    [namesOf(change.removed), namesOf(change.added)],
    [['a-1-1.noarch'], ['a-2-1.noarch', 'other-4:1-1.noarch']],
  )
  await rpm('-i', rpmOf('late-1'))
  const plan = await planRpmUndo(change, exportRpmDatabase(shell, database))
  assert.deepEqual(plan.conflicts, [])
  await writeRpmDatabase(shell, { from: database, to: planned, plan })
  assert.deepEqual(await brokenRelations(shell, planned), [])
  await replace()
  const now = await entries()
  assert.deepEqual(namesOf(now), [
    'a-1-1.noarch',
    'basefs-1-1.noarch',
    'kernel-1-1.noarch',
    'late-1-1.noarch',
  ])
  assert.deepEqual(
    now.find(({ name }) => name === 'a'),
    before,
  )
  const { stdout } = await chroot.run(['rpm', '-q', '--qf', '%{EVR} %{INSTALLTIME:date}', 'a'])
  assert.match(stdout, /^1-1 /)
  await chroot.run(['rpm', '-q', '--whatprovides', '/opt/a/new1'])
  await rpm('-i', '--test', rpmOf('other-1'))
  const headerBytes = [...change.removed, ...change.added].reduce((sum, { header }) => sum + header.length, 0)
  const rpmBytes = ['a-1', 'a-2', 'other-1'].reduce(
    (sum, name) => sum + statSync(join(chroot.path, rpmOf(name))).size,
    0,
  )
  const databaseBytes = statSync(join(chroot.path, database, 'rpmdb.sqlite')).size
  context.diagnostic(
    `headers kept ${headerBytes} bytes, the packages ${rpmBytes}, the whole database ${databaseBytes}`,
  )
})

test('with the files put back beside it, rpm finds nothing that differs', async () => {
  await rpm('-i', rpmOf('a-1'))
  const change = await transaction('-U', rpmOf('a-2'))
  const plan = await planRpmUndo(change, exportRpmDatabase(shell, database))
  await writeRpmDatabase(shell, { from: database, to: planned, plan })
  await replace()
  const differing = await verifyRpmFiles(shell, { packages: ['a-1-1.noarch'] })
  assert.deepEqual(
    differing.map(({ path, differs, isConfiguration }) => [
      path,
      differs.includes('digest') || differs.includes('missing'),
      isConfiguration,
    ]),
    [
      ['/etc/a.conf', true, true],
      ['/opt/a/bin', true, false],
      ['/opt/a/link', true, false],
      ['/opt/a/new1', true, false],
    ],
  )
  await chroot.sh('rm -rf /opt/a/*')
  const file = await openRpmFile(createReadStream(join(chroot.path, rpmOf('a-1'))))
  for await (const { files, bytes } of file.contents()) {
    const content = Buffer.concat(await Array.fromAsync(bytes, (piece) => Buffer.from(piece)))
    const [first, ...others] = files
    assert.ok(first)
    writeFileSync(join(chroot.path, first.path), content)
    for (const { path } of others) await chroot.run(['ln', '-f', first.path, path])
    if (first.capabilities !== undefined) await chroot.run(['setcap', first.capabilities, first.path])
    await chroot.run(['touch', '-d', `@${first.mtimeSeconds}`, first.path])
  }
  assert.deepEqual(await verifyRpmFiles(shell, { packages: ['a-1-1.noarch'] }), [])
  await assert.rejects(verifyRpmFiles(shell, { packages: ['a-2-1.noarch'] }), (error) =>
    isFailure(error, 'not-found'),
  )
})

test('what later packages need of the transaction is named, each relation once, and what was broken before is not laid to it', async () => {
  await rpm('-i', rpmOf('a-1'))
  const change = await transaction('-U', rpmOf('a-2'))
  await rpm('-i', rpmOf('needs-a2-1'), rpmOf('needs-file-1'), rpmOf('against-a1-1'))
  assert.deepEqual(await brokenRelations(shell, database), [])
  const plan = await planRpmUndo(change, exportRpmDatabase(shell, database))
  await writeRpmDatabase(shell, { from: database, to: planned, plan })
  const broken = [...(await brokenRelations(shell, planned))].sort((one, other) =>
    one.package < other.package ? -1 : 1,
  )
  assert.deepEqual(broken, [
    { package: 'against-a1-1-1.noarch', relation: 'conflicts', needs: 'a < 2', installed: '1-1' },
    { package: 'needs-a2-1-1.noarch', relation: 'requires', needs: 'a >= 2', installed: '1-1' },
    { package: 'needs-file-1-1.noarch', relation: 'requires', needs: '/opt/a/new2' },
  ])
  await rpm('-e', '--nodeps', 'a')
  const already = await brokenRelations(shell, database)
  assert.deepEqual(
    newlyBroken(already, broken).map(({ relation }) => relation),
    ['conflicts'],
  )
})

test('a package that was changed again since stays as it is and is told', async () => {
  await rpm('-i', rpmOf('a-1'))
  const change = await transaction('-U', rpmOf('a-2'), rpmOf('other-1'))
  await rpm('-U', rpmOf('a-3'))
  const plan = await planRpmUndo(change, exportRpmDatabase(shell, database))
  assert.deepEqual(
    plan.conflicts.map(({ name, now, before }) => [name, namesOf(now), namesOf(before)]),
    [['a', ['a-3-1.noarch'], ['a-1-1.noarch']]],
  )
  await writeRpmDatabase(shell, { from: database, to: planned, plan })
  assert.deepEqual(namesOf(await entries(planned)), ['a-3-1.noarch', 'basefs-1-1.noarch'])
})

test('of packages that stand in several versions only those of the transaction come and go', async () => {
  await rpm('-i', rpmOf('kernel-1'))
  const change = await transaction('-i', rpmOf('kernel-2'))
  await rpm('-i', rpmOf('kernel-3'))
  // Another one of the same name came since: whether the two belong together nobody knows.
  assert.equal((await planRpmUndo(change, exportRpmDatabase(shell, database))).conflicts.length, 1)
  await rpm('-e', 'kernel-3')
  await rpm('-e', 'kernel-1')
  const plan = await planRpmUndo(change, exportRpmDatabase(shell, database))
  assert.deepEqual([plan.conflicts, plan.drop.length, plan.put.length], [[], 1, 0])
})

test('the key of a signer that came with the transaction goes with it', async () => {
  await makeKey('c@localhost')
  await chroot.sh(
    `rm -rf /root/before /root/scratch; cp -a ${database} /root/before; rm -rf /root/scratch; rpmkeys --import /root/key`,
  )
  const change = await readRpmDatabaseChange(shell, {
    before: '/root/before',
    after: database,
    scratch: '/root/scratch',
  })
  assert.deepEqual(
    change.added.map(({ name, architecture }) => [name, architecture]),
    [['gpg-pubkey', '(none)']],
  )
  const plan = await planRpmUndo(change, exportRpmDatabase(shell, database))
  await writeRpmDatabase(shell, { from: database, to: planned, plan })
  assert.deepEqual(namesOf(await entries(planned)), ['basefs-1-1.noarch'])
})

async function makeKey(user: string): Promise<void> {
  await chroot.run(['gpg', '--batch', '--quiet', '--gen-key'], {
    input: `%no-protection\nKey-Type: RSA\nKey-Length: 2048\nKey-Usage: sign\nName-Email: ${user}\nExpire-Date: 0\n%commit\n`,
  })
  await chroot.sh(`gpg --export -a ${user} >/root/key`)
}

test('the undo of an undo brings back the database entry by entry, keys of signers included', async () => {
  await makeKey('b@localhost')
  await chroot.run(['rpmkeys', '--import', '/root/key'])
  await rpm('-i', rpmOf('a-1'), rpmOf('other-1'))
  const change = await transaction('-e', 'other')
  const changed = await entries()
  assert.ok(changed.some(({ name }) => name === 'gpg-pubkey'))
  for (const [step, expected] of [
    [change, ['a-1-1.noarch', 'other-4:1-1.noarch']],
    [reversed(change), ['a-1-1.noarch']],
  ] as const) {
    await chroot.run(['rm', '-rf', planned])
    const plan = await planRpmUndo(step, exportRpmDatabase(shell, database))
    assert.deepEqual(plan.conflicts, [])
    await writeRpmDatabase(shell, { from: database, to: planned, plan })
    await replace()
    assert.deepEqual(namesOf((await entries()).filter(({ name }) => ['a', 'other'].includes(name))), expected)
  }
  const byId = (found: RpmEntry[]) => found.map(({ id }) => id).sort()
  assert.deepEqual(byId(await entries()), byId(changed))
})

test('a list that is cut on its way into rpm, which says that all went well, is no success', async () => {
  await rpm('-i', rpmOf('a-1'), rpmOf('other-1'))
  const change = await transaction('-e', 'other')
  const plan = await planRpmUndo(change, exportRpmDatabase(shell, database))
  const cutting: Shell = {
    ...shell,
    start: async ({ stdin, ...request }) =>
      await shell.start(stdin === undefined ? request : { ...request, stdin: cut(stdin) }),
  }
  await assert.rejects(writeRpmDatabase(cutting, { from: database, to: planned, plan }), (error) =>
    isFailure(error, 'proof'),
  )
})

async function* cut(
  stream: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void> {
  let previous: Uint8Array | undefined
  for await (const chunk of stream) {
    if (previous) yield previous
    previous = Buffer.from(chunk)
  }
  if (previous) yield previous.subarray(0, previous.length - 5)
}

test('a database that another program has not finished with is not replaced', async () => {
  await rpm('-i', rpmOf('a-1'))
  const change = await transaction('-i', rpmOf('other-1'))
  const plan = await planRpmUndo(change, exportRpmDatabase(shell, database))
  await writeRpmDatabase(shell, { from: database, to: planned, plan })
  writeFileSync(join(chroot.path, database, 'rpmdb.sqlite-wal'), 'left by one that was killed')
  await assert.rejects(sealRpmDatabase(shell, { planned, inUse: database }), (error) =>
    isFailure(error, 'conflict'),
  )
})

test('a database is compared without a trace in its folder', async () => {
  await rpm('-i', rpmOf('a-1'))
  await chroot.sh(`rm -rf /root/before; cp -a ${database} /root/before`)
  await rpm('-i', rpmOf('other-1'))
  const look = async () =>
    (await chroot.sh(`cd ${database}; stat -c '%n %i %s %y %z' . * .[!.]*; cksum * .[!.]*`)).stdout
  const seen = await look()
  const change = await readRpmDatabaseChange(shell, {
    before: '/root/before',
    after: database,
    scratch: '/root/scratch',
  })
  assert.deepEqual(namesOf(change.added), ['other-4:1-1.noarch'])
  assert.equal(await look(), seen)
})

test('what a killed program has committed to the log alone is of the database, which is compared with it and not replaced', async () => {
  await rpm('-i', rpmOf('a-1'), rpmOf('other-1'))
  await chroot.sh(`rm -rf /root/before; cp -a ${database} /root/before`)
  const killed = `import os, sqlite3
c = sqlite3.connect('${database}/rpmdb.sqlite')
c.execute('DELETE FROM Packages WHERE hnum = (SELECT hnum FROM Name WHERE key = "other")')
c.commit()
os.kill(os.getpid(), 9)`
  await chroot.run(['python3', '-c', killed], { mayFail: true })
  assert.ok(statSync(join(chroot.path, database, 'rpmdb.sqlite-wal')).size > 0)
  const change = await readRpmDatabaseChange(shell, {
    before: '/root/before',
    after: database,
    scratch: '/root/scratch',
  })
  assert.deepEqual(namesOf(change.removed), ['other-4:1-1.noarch'])
  await chroot.run(['mkdir', planned])
  await assert.rejects(sealRpmDatabase(shell, { planned, inUse: database }), (error) =>
    isFailure(error, 'conflict'),
  )
})

test('owners of paths are those that rpm tells', async () => {
  await rpm('-i', rpmOf('a-1'), rpmOf('other-1'))
  const paths = ['/opt/a/bin', '/opt/a', '/opt/other', '/etc/a.conf', '/etc/passwd'].map((path) =>
    parseRawPath(asRaw(path)),
  )
  const wanted = new Set(paths.filter((path) => path !== undefined))
  const owners = await rpmOwners(exportRpmDatabase(shell, database), wanted)
  for (const path of wanted) {
    const told = await chroot.run(['rpm', '-qf', '--qf', '%{NEVRA}\\n', path], { mayFail: true })
    assert.equal(
      (owners.get(path) ?? []).map((owner) => `${owner.package}\n`).join(''),
      told.status === 0 ? told.stdout : '',
    )
  }
  const configuration = [...owners].find(([path]) => path === '/etc/a.conf')
  assert.equal(configuration?.[1][0]?.file.isKeptConfiguration, true)
  assert.equal(readFileSync(join(chroot.path, 'opt/other'), 'utf8'), 'o\n')
})
