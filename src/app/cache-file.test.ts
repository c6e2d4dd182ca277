import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openCacheFile } from './cache-file.ts'

test('a write leaves its file alone, and removes what killed ones left there long ago', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'vml-cache-'))
  try {
    const path = join(folder, 'index')
    const old = new Date(Date.now() - 24 * 60 * 60 * 1000)
    for (const name of [
      'index.0123456789ab.tmp',
      'index.ffffffffffff.tmp',
      'other.0123456789ab.tmp',
      'index.old',
    ])
      await writeFile(join(folder, name), name)
    for (const name of ['index.0123456789ab.tmp', 'other.0123456789ab.tmp', 'index.old'])
      await utimes(join(folder, name), old, old)
    const cache = openCacheFile(path, { bytesMax: 100 })
    await cache.write([Buffer.from('one '), Buffer.from('two')])
    assert.equal((await cache.read())?.toString(), 'one two')
    assert.deepEqual((await readdir(folder)).toSorted(), [
      'index',
      'index.ffffffffffff.tmp',
      'index.old',
      'other.0123456789ab.tmp',
    ])
    await cache.write([Buffer.alloc(101)])
    assert.equal(await readFile(path, 'utf8'), 'one two')
  } finally {
    await rm(folder, { recursive: true })
  }
})
