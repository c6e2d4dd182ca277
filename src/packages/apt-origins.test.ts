import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { isFailure } from '../base/failure.ts'
import { openLocalShell } from '../wire/local-shell.ts'
import { readAptOrigins } from './apt-origins.ts'
import { versionKey } from './dpkg-records.ts'

const shell = openLocalShell()
let folder = ''
let words: string[] = []

/** Two suites on this host's disk, read by the real apt: no network, and nothing of this host's own apt. */
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'vml-origins-'))
  for (const path of ['state/lists/partial', 'cache/archives/partial', 'etc/preferences.d', 'etc/apt.conf.d'])
    mkdirSync(join(folder, path), { recursive: true })
  writeFileSync(join(folder, 'status'), paragraph('both', '1', 'amd64', 'Status: install ok installed\n'))
  suite('stable', 'main', [
    paragraph('both', '1', 'amd64', file('both', 1)),
    paragraph('data', '5', 'all', file('data', 2)),
  ])
  suite('stable-security', 'contrib', [
    paragraph('both', '1:2~x', 'amd64', file('both2', 3)),
    paragraph('both', '1', 'i386', file('foreign', 4)),
  ])
  const sources = ['stable main', 'stable-security contrib'].map(
    (which) => `deb [trusted=yes arch=amd64,i386] file:${folder}/archive ${which}\n`,
  )
  writeFileSync(join(folder, 'sources.list'), sources.join(''))
  const options = {
    Dir: folder,
    'Dir::State': `${folder}/state`,
    'Dir::State::status': `${folder}/status`,
    'Dir::Cache': `${folder}/cache`,
    'Dir::Etc': `${folder}/etc`,
    'Dir::Etc::sourcelist': `${folder}/sources.list`,
    'Dir::Etc::sourceparts': '/dev/null',
    'APT::Architecture': 'amd64',
    'APT::Architectures': 'amd64,i386',
    'APT::Sandbox::User': '',
    'Acquire::Languages': 'none',
  }
  words = Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`])
  execFileSync('apt-get', [...words, 'update', '-qq'], { stdio: 'pipe' })
})
after(() => rmSync(folder, { recursive: true, force: true }))

function paragraph(name: string, version: string, architecture: string, more: string): string {
  return `Package: ${name}\nVersion: ${version}\nArchitecture: ${architecture}\nMulti-Arch: same\nMaintainer: Nobody <n@localhost>\n${more}Description: x\n\n`
}

function file(name: string, sizeBytes: number): string {
  return `Filename: pool/${name}.deb\nSize: ${sizeBytes}\nSHA256: ${String(sizeBytes).repeat(64)}\n`
}

function suite(name: string, component: string, paragraphs: readonly string[]): void {
  const top = join(folder, 'archive/dists', name)
  for (const architecture of ['amd64', 'i386']) {
    const binary = join(top, component, `binary-${architecture}`)
    mkdirSync(binary, { recursive: true })
    const own = paragraphs.filter((text) =>
      [architecture, 'all'].some((one) => text.includes(`Architecture: ${one}\n`)),
    )
    writeFileSync(join(binary, 'Packages'), own.join(''))
  }
  const release = `Origin: Test\nLabel: Label of ${name}\nSuite: ${name}\nCodename: code-${name}\nArchitectures: amd64 i386\nComponents: ${component}\nSHA256:\n`
  const sums = execFileSync('sh', [
    '-c',
    'cd "$1" && for f in */*/Packages; do echo " $(sha256sum "$f" | cut -d" " -f1) $(stat -c %s "$f") $f"; done',
    'sh',
    top,
  ])
  writeFileSync(join(top, 'Release'), `${release}${sums.toString()}`)
}

test('sources, size and checksum are told for each version and architecture, and nothing for what no list has', async () => {
  const wanted = [
    { name: 'both', architecture: 'amd64', version: '1' },
    { name: 'both', architecture: 'amd64', version: '1:2~x' },
    { name: 'both', architecture: 'i386', version: '1' },
    { name: 'data', architecture: 'all', version: '5' },
    { name: 'data', architecture: 'all', version: '6' },
    { name: 'unknown', architecture: 'amd64', version: '1' },
  ]
  const found = await readAptOrigins(shell, wanted, { words })
  const told = Object.fromEntries(
    wanted.flatMap(({ name, architecture, version }) => {
      const key = versionKey(name, architecture, version)
      const origin = found.get(key)
      return origin
        ? [
            [
              key,
              [
                origin.file,
                origin.sizeBytes,
                origin.sha256?.slice(0, 1),
                origin.sources.map(({ archive }) => archive),
              ],
            ],
          ]
        : []
    }),
  )
  assert.deepEqual(told, {
    'both:amd64=1': ['pool/both.deb', 1, '1', ['stable']],
    'both:amd64=1:2~x': ['pool/both2.deb', 3, '3', ['stable-security']],
    'both:i386=1': ['pool/foreign.deb', 4, '4', ['stable-security']],
    'data:all=5': ['pool/data.deb', 2, '2', ['stable']],
  })
  assert.deepEqual(found.get('both:amd64=1:2~x')?.sources, [
    {
      address: `file:${folder}/archive`,
      label: 'Label of stable-security',
      archive: 'stable-security',
      suite: 'code-stable-security',
      component: 'contrib',
    },
  ])
})

test('apt is not asked where nothing is wanted, and that it fails is said', async () => {
  assert.equal((await readAptOrigins(shell, [], { words: ['--nonsense'] })).size, 0)
  const one = [{ name: 'both', architecture: 'amd64', version: '1' }]
  await assert.rejects(
    readAptOrigins(shell, one, { words: ['-o', 'Dir::State::status=/nowhere/status', '--nonsense'] }),
    (error) => isFailure(error, 'remote.command'),
  )
})
