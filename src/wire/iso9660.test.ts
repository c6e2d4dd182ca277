import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import * as fc from 'fast-check'
import { isFailure } from '../base/failure.ts'
import { encodeIso, type IsoFile } from './iso9660.ts'

const folder = await mkdtemp(join(tmpdir(), 'vml-iso-'))
after(() => rm(folder, { recursive: true }))
const path = join(folder, 'seed.iso')
const date = new Date('2026-11-03T04:05:06Z')
const run = (program: string, ...args: string[]) => execFileSync(program, args)

const seed: IsoFile[] = [
  { name: 'user-data', content: Buffer.from('#cloud-config\n{}\n') },
  { name: 'meta-data', content: Buffer.from('instance-id: x\n') },
  { name: 'network-config', content: Buffer.alloc(5_000, 'n') },
]

test('blkid and isoinfo see a volume named cidata with Joliet', async () => {
  await writeFile(path, encodeIso({ volume: 'cidata', files: seed, date }))
  const facts = run('blkid', '-p', '-o', 'export', path).toString()
  assert.match(facts, /^LABEL=cidata$/m)
  assert.match(facts, /^TYPE=iso9660$/m)
  assert.match(run('isoinfo', '-d', '-i', path).toString(), /Joliet with UCS level 3/)
})

test('isoinfo reads each file by its Joliet name and by its short name', async () => {
  await writeFile(path, encodeIso({ volume: 'cidata', files: seed, date }))
  const short = ['/USER_DAT.;1', '/META_DAT.;1', '/NETWORK_.;1']
  for (const [place, { name, content }] of seed.entries()) {
    assert.deepEqual(run('isoinfo', '-J', '-i', path, '-x', `/${name}`), Buffer.from(content))
    assert.deepEqual(run('isoinfo', '-i', path, '-x', short[place] ?? ''), Buffer.from(content))
  }
})

test('whatever the names and sizes, bsdtar gets every file back', async () => {
  const name = fc.stringMatching(/^[a-z][a-z.-]{0,40}[a-z]$/)
  const content = fc.oneof(fc.uint8Array({ maxLength: 100 }), fc.constant(new Uint8Array(2048).fill(7)))
  const list = fc.uniqueArray(fc.record({ name, content }), { maxLength: 6, selector: (file) => file.name })
  await fc.assert(
    fc.asyncProperty(list, async (files) => {
      await writeFile(path, encodeIso({ volume: 'cidata', files, date }))
      const names = run('bsdtar', '-tf', path)
        .toString()
        .split('\n')
        .filter((line) => line !== '' && line !== '.')
      assert.deepEqual(names.toSorted(), files.map((file) => file.name).toSorted())
      for (const file of files)
        assert.deepEqual(run('bsdtar', '-xOf', path, file.name), Buffer.from(file.content))
    }),
    { numRuns: 15 },
  )
})

test('names that a seed never has are refused', () => {
  for (const name of ['', 'a/b', 'a;1', 'x'.repeat(65), 'a\n']) {
    const files = [{ name, content: Buffer.alloc(0) }]
    assert.throws(
      () => encodeIso({ volume: 'cidata', files, date }),
      (error) => isFailure(error, 'usage'),
    )
  }
})
