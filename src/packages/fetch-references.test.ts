import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { VmlError } from '../base/failure.ts'
import { rawFromString } from '../base/raw-text.ts'
import { parseRawPath, rootPath, type RawPath } from '../model/raw-path.ts'
import { openLocalShell } from '../wire/local-shell.ts'
import { buildDeb } from './deb.fixture.ts'
import { fetchReferences, type WantedContent } from './fetch-references.ts'
import { openLocalPackage, openPackageSources, type PackageSources } from './package-sources.ts'

const shell = openLocalShell()
const sum = (text: string) => hash('sha256', text, 'hex')
let folder = ''
let sources: PackageSources
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'vml-fetch-'))
  const deb = buildDeb(join(folder, 'debs/a_1_all.deb'), {
    name: 'a',
    files: { 'usr/one': '1', 'usr/two': '2', 'usr/same': '1' },
    links: { 'usr/link': 'usr/two' },
  })
  sources = openPackageSources({
    kept: async ({ name }) => (name === 'a' ? await openLocalPackage(pathOf(deb)) : undefined),
    http: { fetch, idleTimeoutMs: 30_000 },
    shell,
  })
})
after(() => rmSync(folder, { recursive: true, force: true }))

function pathOf(text: string): RawPath {
  return parseRawPath(rawFromString(text)) ?? rootPath
}

function content(name: string, inside: string, text: string): WantedContent {
  const reference = {
    kind: 'reference',
    package: name,
    version: '1',
    architecture: 'all',
    from: 'logbook',
  } as const
  return { reference: { ...reference, inside: pathOf(inside) }, sha256: sum(text) }
}

test('contents come to hand under their checksums; what cannot be had is told with the reason', async () => {
  const into = mkdtempSync(join(folder, 'into-'))
  const { files, lost } = await fetchReferences({
    wanted: [
      content('a', '/usr/one', '1'),
      content('a', '/usr/same', '1'),
      content('a', '/usr/link', '2'),
      content('a', '/usr/two', 'another'),
      content('a', '/usr/none', 'none'),
      content('b', '/usr/b', 'b'),
    ],
    sources,
    shell,
    folder: into,
  })
  assert.deepEqual(new Set(files.keys()), new Set([sum('1'), sum('2')]))
  for (const [sha256, file] of files) assert.equal(sum(readFileSync(file, 'utf8')), sha256)
  assert.deepEqual(
    lost.map(({ reference: { inside }, reason }) => [inside, reason]),
    [
      ['/usr/two', 'the package does not have the content that was recorded'],
      ['/usr/none', 'the package does not have the content that was recorded'],
      ['/usr/b', 'no source has the package any more'],
    ],
  )
  assert.deepEqual(readdirSync(into).toSorted(), [sum('1'), sum('2')].toSorted())
})

test('a source that fails loses its contents with its own words, and cancelling ends it all', async () => {
  const failing = (code: 'integrity.hash' | 'cancelled') => ({
    wanted: [content('a', '/usr/one', '1')],
    sources: { find: async () => await Promise.reject(new VmlError(code, 'Why')) },
    shell,
    folder,
  })
  assert.deepEqual(
    (await fetchReferences(failing('integrity.hash'))).lost.map(({ reason }) => reason),
    ['Why'],
  )
  await assert.rejects(fetchReferences(failing('cancelled')), { code: 'cancelled' })
})
