import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { isFailure } from '../base/failure.ts'
import { openLocalShell } from '../wire/local-shell.ts'
import { openApk } from './apk.ts'
import { openDpkg } from './dpkg.ts'
import { readMachinePackages } from './machine-packages.ts'
import { openRpm } from './rpm.ts'

const shell = openLocalShell()
let folder = ''
before(() => void (folder = mkdtempSync(join(tmpdir(), 'vml-packages-'))))
after(() => rmSync(folder, { recursive: true, force: true }))

describe('dpkg', () => {
  let database = ''
  before(() => {
    const root = join(folder, 'root')
    database = join(root, 'var/lib/dpkg')
    mkdirSync(join(database, 'info'), { recursive: true })
    mkdirSync(join(database, 'updates'))
    writeFileSync(join(database, 'status'), '')
    const dpkg = (...words: readonly string[]) =>
      void execFileSync(
        'dpkg',
        [`--root=${root}`, `--log=${join(folder, 'log')}`, '--force-not-root', '--force-bad-path', ...words],
        { stdio: 'pipe' },
      )
    dpkg('--add-architecture', 'i386')
    dpkg('--add-architecture', 'amd64')
    dpkg('-i', deb('plain', '1:2.0~rc1-3', 'all'), deb('held', '7', 'all'), deb('gone', '1', 'all'))
    dpkg('-i', deb('both', '1.5', 'amd64'), deb('both', '1.5', 'i386'))
    dpkg('--unpack', deb('unpacked', '3', 'all'))
    dpkg('-i', deb('settings', '1', 'all', true))
    dpkg('--remove', 'settings')
    dpkg('--purge', 'gone')
    execFileSync('dpkg', [`--root=${root}`, '--force-not-root', '--set-selections'], { input: 'held hold\n' })
  })

  const expected = [
    ['both', '1.5', 'amd64'],
    ['both', '1.5', 'i386'],
    ['held', '7', 'all'],
    ['plain', '1:2.0~rc1-3', 'all'],
    ['unpacked', '3', 'all'],
  ]

  test('tells what has its files on the machine, held and unpacked packages too, removed ones not', async () => {
    assert.deepEqual(await inventory(openDpkg({ database })), expected)
  })

  test('tells the same from the database alone, where there is no dpkg-query', async () => {
    const bare = join(folder, 'bare')
    mkdirSync(join(bare, 'status.d'), { recursive: true })
    const [first, ...others] = readFileSync(join(database, 'status'), 'latin1').trimEnd().split('\n\n')
    // As in images that have no dpkg: a file each, without a status.
    writeFileSync(join(bare, 'status.d', 'first'), `${first?.replace(/^Status:.*\n/m, '')}\n`)
    writeFileSync(join(bare, 'status.d', 'first.md5sums'), 'not a paragraph\n')
    for (const [index, text] of others.entries()) writeFileSync(join(bare, 'status.d', `o${index}`), text)
    assert.deepEqual(await inventory(openDpkg({ database: bare })), expected)
  })

  test('a machine without its database has another manager', async () => {
    assert.equal(await openDpkg({ database: join(folder, 'absent') }).inventory(shell), undefined)
  })

  test('the list of this host is the one that dpkg prints', async () => {
    const lines = execFileSync('dpkg-query', ['-W', '-f', '${db:Status-Abbrev} ${Package} ${Version}\n'], {
      encoding: 'utf8',
    })
    const installed = lines.split('\n').filter((line) => /^.i/.test(line))
    const found = await openDpkg().inventory(shell)
    assert.equal(found?.packages.length, installed.length)
  })

  test('a hostile database is refused and what it says is not printed raw', async () => {
    const hostile = join(folder, 'hostile')
    mkdirSync(join(hostile, 'status.d'), { recursive: true })
    for (const bad of ['a\x1b[31m', 'x'.repeat(1_000_000), 'two words', '']) {
      writeFileSync(join(hostile, 'status.d', 'one'), `Package: ${bad}\nVersion: 1\nArchitecture: all\n`)
      await assert.rejects(openDpkg({ database: hostile }).inventory(shell), (error) => {
        assert.ok(isFailure(error, 'remote.protocol'))
        assert.doesNotMatch(error.message, /\p{Cc}/u)
        return error.message.length < 300
      })
    }
  })
})

describe('rpm', () => {
  test('tells epoch, version, release and architecture of what is installed, several versions of a name too', async () => {
    const database = join(folder, 'rpm')
    mkdirSync(database)
    for (const [name, evr] of [
      ['plain', '1.0-1'],
      ['with-epoch', '2:3.1~rc1-4.el9'],
      ['kernel', '6.1-1'],
      ['kernel', '6.2-1'],
    ] as const) {
      execFileSync(
        'rpm',
        ['--dbpath', database, '-i', '--justdb', '--nodeps', '--ignorearch', rpm(name, evr)],
        { stdio: 'pipe' },
      )
    }
    assert.deepEqual(await inventory(openRpm({ databases: [join(folder, 'absent'), database] })), [
      ['kernel', '6.1-1', 'noarch'],
      ['kernel', '6.2-1', 'noarch'],
      ['plain', '1.0-1', 'noarch'],
      ['with-epoch', '2:3.1~rc1-4.el9', 'noarch'],
    ])
  })

  test('a machine without its database is not asked, and gets none', async () => {
    const empty = join(folder, 'no-rpm')
    mkdirSync(empty)
    assert.equal(await openRpm({ databases: [empty] }).inventory(shell), undefined)
    assert.deepEqual(execFileSync('ls', [empty], { encoding: 'utf8' }), '')
  })
})

describe('apk', () => {
  test('tells name, version and architecture from its database, whose lines on files are no packages', async () => {
    const file = join(folder, 'installed')
    writeFileSync(
      file,
      'C:Q1abc=\nP:musl\nV:1.2.5-r9\nA:x86_64\nT:the C library: musl\nF:lib\nR:ld-musl-x86_64.so.1\na:0:0:755\nZ:Q1x=\n\n' +
        'C:Q1def=\nP:busybox\nV:1.37.0-r12\nA:x86_64\nF:bin\nR:busybox\n\n',
    )
    assert.deepEqual(await inventory(openApk({ databases: [join(folder, 'absent'), file] })), [
      ['busybox', '1.37.0-r12', 'x86_64'],
      ['musl', '1.2.5-r9', 'x86_64'],
    ])
  })
})

test('of several managers with a database, the one with the most packages is the machine’s own', async () => {
  const file = join(folder, 'small')
  writeFileSync(file, 'P:one\nV:1\nA:noarch\n\n')
  const apk = openApk({ databases: [file] })
  const none = openApk({ databases: [] })
  assert.equal((await readMachinePackages([apk, openDpkg()], shell))?.manager, 'dpkg')
  assert.equal((await readMachinePackages([apk, none], shell))?.manager, 'apk')
  assert.equal(await readMachinePackages([none], shell), undefined)
})

async function inventory(manager: ReturnType<typeof openApk>): Promise<string[][]> {
  const found = await manager.inventory(shell)
  assert.equal(found?.manager, manager.name)
  return (found?.packages ?? []).map(({ name, version, architecture }) => [name, version, architecture])
}

function deb(name: string, version: string, architecture: string, hasSettings = false): string {
  const source = join(folder, `deb-${name}-${architecture}`)
  mkdirSync(join(source, 'DEBIAN'), { recursive: true })
  chmodSync(join(source, 'DEBIAN'), 0o755)
  const both = name === 'both' ? 'Multi-Arch: same\n' : ''
  writeFileSync(
    join(source, 'DEBIAN', 'control'),
    `Package: ${name}\nVersion: ${version}\nArchitecture: ${architecture}\n${both}` +
      'Maintainer: Nobody <nobody@localhost>\nDescription: first line\n Package: not-a-field\n',
  )
  if (hasSettings) {
    mkdirSync(join(source, 'etc'), { recursive: true })
    writeFileSync(join(source, 'etc', 'settings'), 'x\n')
    writeFileSync(join(source, 'DEBIAN', 'conffiles'), '/etc/settings\n')
  }
  const file = join(folder, `${name}-${architecture}.deb`)
  execFileSync('dpkg-deb', ['--root-owner-group', '--build', source, file], { stdio: 'pipe' })
  return file
}

function rpm(name: string, evr: string): string {
  const [, epoch, version, release] = /^(?:(\d+):)?(.*)-(.*)$/.exec(evr) ?? []
  const top = join(folder, `build-${name}-${version}`)
  mkdirSync(top)
  writeFileSync(
    join(top, 'it.spec'),
    [
      `Name: ${name}`,
      `Version: ${version}`,
      `Release: ${release}`,
      ...(epoch === undefined ? [] : [`Epoch: ${epoch}`]),
      'Summary: a test',
      'License: none',
      'BuildArch: noarch',
      '%description',
      'A test',
      '%files',
      '',
    ].join('\n'),
  )
  execFileSync('rpmbuild', ['-bb', '--quiet', '--define', `_topdir ${top}`, join(top, 'it.spec')], {
    stdio: 'pipe',
  })
  return join(top, 'RPMS', 'noarch', `${name}-${version}-${release}.noarch.rpm`)
}
