import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { hash } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { testBackend } from '../../test/conformance/backend.ts'
import { openBackend } from './all.ts'
import { openLocal } from './local.ts'
import { writeStaged } from './staged-file.ts'

function temporaryFolder(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), 'vml-local-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

testBackend(
  'local',
  async () => {
    const folder = temporaryFolder()
    const address = join(folder.path, 'repository')
    return {
      address,
      open: () => openLocal(address),
      async [Symbol.asyncDispose]() {
        folder[Symbol.dispose]()
      },
    }
  },
  { reachable: true },
)

const name = 'ab'.repeat(32)

test('only the owner can enter and read what local makes', async () => {
  using folder = temporaryFolder()
  const root = join(folder.path, 'repository')
  const backend = openLocal(root)
  await backend.create()
  await backend.put({ kind: 'pack', name }, Buffer.from('x'))
  const paths = ['', 'data', 'data/ab', 'keys', 'tmp', `data/ab/${name}`]
  const modes = paths.map((path) => statSync(join(root, path)).mode & 0o777)
  assert.deepEqual(modes, [0o700, 0o700, 0o700, 0o700, 0o700, 0o600])
})

test('an interrupted put leaves no temporary name, and a later one sweeps what a kill left', async () => {
  using folder = temporaryFolder()
  const backend = openLocal(folder.path)
  await backend.create()
  const left = join(folder.path, 'tmp', `vml-put-${'0'.repeat(16)}`)
  const young = join(folder.path, 'tmp', `vml-put-${'1'.repeat(16)}`)
  const foreign = join(folder.path, 'tmp', 'of-another-program')
  for (const path of [left, young, foreign]) writeFileSync(path, 'half')
  for (const path of [left, foreign]) utimesSync(path, 1, 1)
  await backend.put({ kind: 'pack', name }, Buffer.from('x'))
  await assert.rejects(backend.put({ kind: 'pack', name }, Buffer.from('y')), { code: 'exists' })
  assert.deepEqual(readdirSync(join(folder.path, 'tmp')), ['of-another-program', `vml-put-${'1'.repeat(16)}`])
})

test('a repository without tmp/ and with few of its folders, as other programs make and copy it, is written to', async () => {
  using folder = temporaryFolder()
  const backend = openLocal(folder.path)
  await backend.create()
  await backend.put({ kind: 'config', name: '' }, Buffer.from('x'))
  for (const path of ['tmp', 'data/ab', 'snapshots']) rmSync(join(folder.path, path), { recursive: true })
  await backend.put({ kind: 'pack', name }, Buffer.from('x'))
  assert.equal(await backend.size({ kind: 'pack', name }), 1)
  assert.deepEqual(await Array.fromAsync(backend.list('snapshot')), [])
  await backend.put({ kind: 'snapshot', name }, Buffer.from('x'))
  assert.deepEqual(await Array.fromAsync(backend.list('snapshot')), [{ name, size: 1 }])
})

test('a folder that is gone, as of a disk that is not mounted, is not an empty repository', async () => {
  using folder = temporaryFolder()
  const root = join(folder.path, 'gone')
  const backend = openLocal(root)
  await assert.rejects(Array.fromAsync(backend.list('snapshot')), { code: 'not-found' })
  await assert.rejects(backend.put({ kind: 'pack', name }, Buffer.from('x')), { code: 'not-found' })
  assert.ok(!existsSync(root))
})

test('a full disk is told as such and leaves nothing behind', async () => {
  using folder = temporaryFolder()
  const mount = join(folder.path, 'small')
  execFileSync('mkdir', [mount])
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', mount])
  try {
    const backend = openLocal(join(mount, 'repository'))
    await backend.create()
    const put = backend.put({ kind: 'pack', name }, Buffer.alloc(4 * 1024 * 1024))
    await assert.rejects(put, { code: 'unavailable.space' })
    assert.deepEqual(await Array.fromAsync(backend.list('pack')), [])
    const staged = backend.stage?.() ?? assert.fail()
    const write = () => writeStaged(staged.descriptor, Buffer.alloc(4 * 1024 * 1024), 0)
    assert.throws(write, { code: 'unavailable.space' })
    staged.drop()
    assert.deepEqual(readdirSync(join(mount, 'repository', 'tmp')), [])
  } finally {
    execFileSync('umount', [mount])
  }
})

test('names that are not 64 hex digits never become paths', async () => {
  using folder = temporaryFolder()
  const backend = openLocal(folder.path)
  await backend.create()
  await assert.rejects(backend.put({ kind: 'pack', name: '../../escape' }, Buffer.from('x')), TypeError)
  writeFileSync(join(folder.path, 'snapshots', 'notes.txt'), 'x')
  assert.deepEqual(await Array.fromAsync(backend.list('snapshot')), [])
})

test('a folder opened to read is never written to', async () => {
  using folder = temporaryFolder()
  await openLocal(folder.path).create()
  const backend = openLocal(folder.path, { readOnly: true })
  await assert.rejects(backend.put({ kind: 'pack', name }, Buffer.from('x')), { code: 'unsupported' })
  await assert.rejects(backend.remove({ kind: 'pack', name }), { code: 'unsupported' })
})

test('a location is a folder or names its driver', async () => {
  using folder = temporaryFolder()
  assert.equal((await openBackend(folder.path)).location, folder.path)
  assert.equal((await openBackend(`local:${folder.path}`)).location, folder.path)
  await assert.rejects(openBackend('swift:container'), { code: 'usage', message: /sftp:USER/ })
})

test('a file that was written piece by piece is put whole, and one that is dropped leaves nothing', async () => {
  using folder = temporaryFolder()
  const backend = openLocal(folder.path)
  await backend.create()
  const content = Buffer.from('one piece and another')
  const file = { kind: 'pack', name: hash('sha256', content) } as const
  const write = () => {
    const staged = backend.stage?.() ?? assert.fail()
    writeStaged(staged.descriptor, content.subarray(0, 9), 0)
    writeStaged(staged.descriptor, content.subarray(9), 9)
    return staged
  }
  const dropped = write()
  dropped.drop()
  dropped.drop()
  await assert.rejects(write().put(file, content.length + 1))
  assert.equal(await backend.size(file), undefined)
  await write().put(file, content.length)
  assert.deepEqual(await backend.get(file), content)
  // The same again, as of a save that was repeated.
  await write().put(file, content.length)
  await backend.remove(file)
  await backend.put(file, Buffer.from('other and as long 123'))
  await assert.rejects(write().put(file, content.length), { code: 'exists' })
  assert.deepEqual(readdirSync(join(folder.path, 'tmp')), [])
})

test('a file that another program took for a leftover while it was filled is put all the same', async () => {
  using folder = temporaryFolder()
  const backend = openLocal(folder.path)
  await backend.create()
  const content = Buffer.from('slow')
  const staged = backend.stage?.() ?? assert.fail()
  writeStaged(staged.descriptor, content, 0)
  for (const left of readdirSync(join(folder.path, 'tmp'))) rmSync(join(folder.path, 'tmp', left))
  const file = { kind: 'pack', name: hash('sha256', content) } as const
  await staged.put(file, content.length)
  assert.deepEqual(await backend.get(file), content)
})
