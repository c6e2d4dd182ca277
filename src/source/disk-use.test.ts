// How much of a machine's disks is in use, against what its kernel says.
import assert from 'node:assert/strict'
import { mkdtemp, rm, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { rawFromString } from '../base/raw-text.ts'
import { isFailure } from '../base/failure.ts'
import { parseRawPath, type RawPath, rootPath } from '../model/raw-path.ts'
import { openLocalShell } from '../wire/local-shell.ts'
import type { Shell } from '../wire/shell.ts'
import { readDiskUse } from './disk-use.ts'

function raw(path: string): RawPath {
  const parsed = parseRawPath(rawFromString(path))
  assert.ok(parsed)
  return parsed
}

test('a file system counts once, however many paths lie on it and whatever they are called', async () => {
  await using shell = openLocalShell()
  const folder = await mkdtemp(join(tmpdir(), 'vml disk\n%'))
  try {
    const once = await readDiskUse(shell, [raw(folder)])
    const { blocks, bfree, bsize } = await statfs(folder)
    const used = (blocks - bfree) * bsize
    // Others write to this disk meanwhile.
    assert.ok(Math.abs(once - used) < 0.1 * used + 2 ** 30, `${once} and ${used}`)
    const often = await readDiskUse(shell, [raw(folder), raw(folder), raw(`${folder}/gone`)])
    assert.ok(Math.abs(often - once) < 0.1 * once + 2 ** 30, `${often} and ${once}`)
  } finally {
    await rm(folder, { recursive: true })
  }
})

test('a disk that grows while it is asked about counts once, and two of one name are two', async () => {
  const lines = [
    'Filesystem 1024-blocks Used Available Capacity Mounted on',
    '/dev/vda 1000 400 600 40% /',
    '/dev/vda 1000 401 599 41% /home of mine',
    'tmpfs 100 7 93 7% /run',
    'tmpfs 100 7 93 7% /tmp',
    '',
  ]
  const shell: Shell = {
    label: 'lab',
    start: () => Promise.reject(new Error('not asked for')),
    run: () => Promise.resolve({ status: 0, stdout: Buffer.from(lines.join('\n')), stderr: Buffer.alloc(0) }),
    async [Symbol.asyncDispose]() {},
  }
  assert.equal(await readDiskUse(shell, [rootPath]), (401 + 7 + 7) * 1024)
})

test('disks that do not tell are a failure, not an empty machine', async () => {
  await using shell = openLocalShell()
  await assert.rejects(readDiskUse(shell, [raw('/no/such/path')]), (error) =>
    isFailure(error, 'remote.protocol'),
  )
  assert.ok((await readDiskUse(shell, [rootPath])) > 0)
})
