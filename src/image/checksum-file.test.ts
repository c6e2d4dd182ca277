import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { findChecksum } from './checksum-file.ts'

const folder = await mkdtemp(join(tmpdir(), 'vml-sums-'))
after(() => rm(folder, { recursive: true }))

test('both forms of both programs of coreutils are read', async () => {
  await writeFile(join(folder, 'a.img'), 'a')
  await writeFile(join(folder, 'b.img'), 'b')
  for (const algorithm of ['sha256', 'sha512'] as const) {
    for (const form of [['-b'], ['-t'], ['--tag']]) {
      const text = execFileSync(`${algorithm}sum`, [...form, 'b.img', 'a.img'], { cwd: folder }).toString()
      const bare = execFileSync(`${algorithm}sum`, { cwd: folder, input: 'a' }).toString().split(' ')[0] ?? ''
      assert.deepEqual(findChecksum(text, 'a.img'), { algorithm, hex: bare })
      assert.deepEqual(findChecksum(`${bare}\n`, 'a.img'), { algorithm, hex: bare })
      assert.equal(findChecksum(text, 'c.img'), undefined)
    }
  }
})

test('a checksum that is there twice with two values, or of another file alone, is none', () => {
  const line = (digit: string, name: string) => `${digit.repeat(64)}  ${name}\n`
  assert.equal(findChecksum(line('a', 'x') + line('b', 'x'), 'x'), undefined)
  assert.deepEqual(findChecksum(line('a', './d/x') + line('a', 'x'), 'x'), {
    algorithm: 'sha256',
    hex: 'a'.repeat(64),
  })
  assert.equal(findChecksum(line('a', 'y'), 'x'), undefined)
  assert.equal(findChecksum('<html>404</html>', 'x'), undefined)
})
