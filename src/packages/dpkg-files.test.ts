import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { isFailure } from '../base/failure.ts'
import { rawFromString } from '../base/raw-text.ts'
import { compareRaw, parseRawPath, rootPath, type RawPath } from '../model/raw-path.ts'
import { buildDeb } from './deb.fixture.ts'
import { readDpkgFiles, type DpkgFiles } from './dpkg-files.ts'

let folder = ''
let files: DpkgFiles
const md5 = (text: string) => createHash('md5').update(text).digest('hex')

/** A machine whose /bin is a link, with the real dpkg's database of packages that list the old name. */
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'vml-dpkg-'))
  const root = join(folder, 'root')
  for (const path of ['usr/bin', 'var/lib/dpkg/info', 'var/lib/dpkg/updates'])
    mkdirSync(join(root, path), { recursive: true })
  symlinkSync('usr/bin', join(root, 'bin'))
  writeFileSync(join(root, 'var/lib/dpkg/status'), '')
  const dpkg = (...words: readonly string[]) =>
    execFileSync(
      'dpkg',
      [
        `--root=${root}`,
        `--log=${join(folder, 'log')}`,
        '--force-not-root',
        '--force-bad-path',
        '--force-architecture',
        ...words,
      ],
      { stdio: 'pipe' },
    )
  const divert = (...words: readonly string[]) =>
    execFileSync('dpkg-divert', [`--root=${root}`, '--quiet', ...words], { stdio: 'pipe' })
  dpkg('--add-architecture', 'i386')
  divert('--add', '--package', 'shell', '--divert', '/usr/share/page.orig', '--no-rename', '/usr/share/page')
  divert('--add', '--local', '--divert', '/usr/share/mine.distrib', '--no-rename', '/usr/share/mine')
  dpkg(
    '-i',
    deb('pages', 'all', { 'usr/share/page': 'old', 'usr/share/mine': 'distributed', 'bin/cat': 'cat' }),
  )
  dpkg(
    '-i',
    deb('shell', 'all', {
      'usr/share/page': 'new',
      'bin/sh': 'sh',
      'etc/sh.conf': 'conf',
      'etc/gone.conf': 'gone',
    }),
  )
  dpkg('-i', deb('shell', 'all', { 'usr/share/page': 'new', 'bin/sh': 'sh2', 'etc/sh.conf': 'conf' }, '2'))
  for (const architecture of ['amd64', 'i386'])
    dpkg('-i', deb('both', architecture, { 'usr/share/both': 'both' }))
  const odd = 'usr/share/odd é\\ name'
  dpkg('-i', deb('odd', 'all', { [odd]: 'odd' }))
  dpkg('-r', '--force-depends', 'odd')
  dpkg('-i', deb('odd', 'all', { [odd]: 'odd' }, '3'))
  files = readDpkgFiles(pathOf(root))
})
after(() => rmSync(folder, { recursive: true, force: true }))

function deb(
  name: string,
  architecture: string,
  content: Readonly<Record<string, string>>,
  version = '1',
): string {
  return buildDeb(join(folder, 'debs', `${name}-${architecture}-${version}.deb`), {
    name,
    version,
    architecture,
    files: content,
    ...(name === 'both' ? { control: 'Multi-Arch: same\n' } : {}),
  })
}

function pathOf(text: string): RawPath {
  return parseRawPath(rawFromString(text)) ?? rootPath
}

function told(path: string) {
  const file = files.fileOf(pathOf(path))
  return file && [`${file.package.key}=${file.package.version}`, file.inside, file.md5]
}

describe('the owner of a path', () => {
  test('is found by the place where it lies, and by the name that the package lists', () => {
    assert.deepEqual(told('/usr/bin/sh'), ['shell=2', '/bin/sh', md5('sh2')])
    assert.deepEqual(told('/bin/sh'), ['shell=2', '/bin/sh', md5('sh2')])
    assert.deepEqual(told('/usr/bin/cat'), ['pages=1', '/bin/cat', md5('cat')])
    assert.equal(told('/usr/bin/none'), undefined)
  })

  test('of what lies behind a diversion is the package that was diverted, by the path that it knows', () => {
    assert.deepEqual(told('/usr/share/page'), ['shell=2', '/usr/share/page', md5('new')])
    assert.deepEqual(told('/usr/share/page.orig'), ['pages=1', '/usr/share/page', md5('old')])
    assert.equal(told('/usr/share/mine'), undefined)
    assert.deepEqual(told('/usr/share/mine.distrib'), ['pages=1', '/usr/share/mine', md5('distributed')])
  })

  test('of a conffile has the checksum that the package brought; one that it no longer brings has none', () => {
    assert.deepEqual(told('/etc/sh.conf'), ['shell=2', '/etc/sh.conf', md5('conf')])
    assert.equal(files.fileOf(pathOf('/etc/sh.conf'))?.isConffile, true)
    assert.deepEqual(told('/etc/gone.conf'), ['shell=2', '/etc/gone.conf', undefined])
  })

  test('of a file that two architectures share is one of them, of a folder all that have it', () => {
    assert.deepEqual(told('/usr/share/both')?.slice(1), ['/usr/share/both', md5('both')])
    assert.deepEqual(
      new Set(files.ownersOf(pathOf('/usr/share')).map(({ package: { key } }) => key)),
      new Set(['pages', 'shell', 'both:amd64', 'both:i386', 'odd']),
    )
  })

  test('of a name with odd characters is found, its checksum too', () => {
    assert.deepEqual(told('/usr/share/odd é\\ name'), [
      'odd=3',
      rawFromString('/usr/share/odd é\\ name'),
      md5('odd'),
    ])
  })

  test('of dpkg’s own copy of a control file is the package, but not of what dpkg made', () => {
    assert.deepEqual(told('/var/lib/dpkg/info/shell.md5sums'), ['shell=2', '/DEBIAN/md5sums', undefined])
    assert.deepEqual(told('/var/lib/dpkg/info/both:i386.md5sums')?.[0], 'both:i386=1')
    assert.equal(told('/var/lib/dpkg/info/shell.list'), undefined)
  })
})

test('all files of a package are told where they lie', () => {
  assert.deepEqual(
    [...files.filesOf('pages')]
      .filter((file) => file.md5 !== undefined)
      .map(({ path, md5: sum }) => [path, sum])
      .toSorted(([one = ''], [other = '']) => compareRaw(one, other)),
    [
      ['/usr/bin/cat', md5('cat')],
      ['/usr/share/mine.distrib', md5('distributed')],
      ['/usr/share/page.orig', md5('old')],
    ],
  )
})

test('a root without a database is none of dpkg’s', () => {
  assert.throws(
    () => readDpkgFiles(pathOf(join(folder, 'nowhere'))),
    (error) => isFailure(error, 'not-found'),
  )
})

test('on this host every owner is the one that dpkg-query names', () => {
  const host = readDpkgFiles(rootPath)
  const asked: RawPath[] = []
  let count = 0
  for (const { key } of host.packages)
    for (const { path, md5: sum } of host.filesOf(key))
      if (sum !== undefined && path.startsWith('/usr/share/') && count++ % 97 === 0) asked.push(path)
  assert.ok(asked.length > 20)
  const { stdout } = spawnSync('dpkg-query', ['-S', ...asked], {
    encoding: 'latin1',
    maxBuffer: 64 * 1024 * 1024,
  })
  const answers = new Map<string, string[]>()
  for (const line of stdout.split('\n')) {
    const [, names, path = ''] = /^((?!diversion|local diversion).*?): (\/.*)$/.exec(line) ?? []
    if (names !== undefined)
      answers.set(
        path,
        names.split(', ').map((name) => name.replace(/:.*/, '')),
      )
  }
  for (const path of asked) {
    if (!answers.has(path)) continue
    assert.ok(answers.get(path)?.includes(host.fileOf(path)?.package.name ?? ''), path)
  }
  assert.ok(answers.size > asked.length * 0.9)
})
