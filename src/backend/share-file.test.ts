import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { VmlError } from '../base/failure.ts'
import { openMemory } from './memory.ts'
import { openShareFile, type ShareContent, writeShareFile } from './share-file.ts'

const image = {
  name: `image/${'a'.repeat(64)}/disk.qcow2`,
  size: 700,
  read: () => only(Buffer.alloc(700, 7)),
}
let folder = ''

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'vml-share-'))
})
after(() => rm(folder, { recursive: true }))

async function* only(bytes: Buffer): AsyncIterable<Buffer> {
  yield bytes
}

async function content(): Promise<ShareContent> {
  const repository = openMemory()
  await repository.create()
  await repository.put({ kind: 'config', name: '' }, Buffer.from('config'))
  await repository.put({ kind: 'pack', name: 'b'.repeat(64) }, Buffer.alloc(3000, 1))
  await repository.put({ kind: 'snapshot', name: 'c'.repeat(64) }, Buffer.from('snapshot'))
  return { manifest: Buffer.from('{}'), key: Buffer.from('secret'), repository, images: [image] }
}

const isDamage = (error: unknown) => error instanceof VmlError && error.code.startsWith('integrity.')

test('a share comes back member by member, and tar lists it', async () => {
  const path = join(folder, 'whole.vml')
  const { bytes } = await writeShareFile(path, await content())
  assert.equal((await readFile(path)).length, bytes)
  const names = execFileSync('tar', ['-tf', path], { encoding: 'utf8' }).trim().split('\n')
  assert.deepEqual(names.slice(0, 3), ['vml-share.json', 'key', 'logbook/config'])
  await using share = await openShareFile(path)
  assert.equal(share.key?.toString(), 'secret')
  assert.equal(
    (await share.backend.get({ kind: 'pack', name: 'b'.repeat(64) }, { offset: 2990, length: 10 })).length,
    10,
  )
  const names2: string[] = []
  for await (const { name } of share.backend.list('snapshot')) names2.push(name)
  assert.deepEqual(names2, ['c'.repeat(64)])
  const parts: Buffer[] = []
  for await (const part of share.readImage(image.name)) parts.push(part)
  assert.deepEqual(Buffer.concat(parts), Buffer.alloc(700, 7))
})

test('a share that is there is not written over, and a failed one leaves nothing', async () => {
  const path = join(folder, 'there.vml')
  await writeFile(path, 'mine')
  await assert.rejects(
    writeShareFile(path, await content()),
    (error) => error instanceof VmlError && error.code === 'exists',
  )
  assert.equal(await readFile(path, 'utf8'), 'mine')
  const broken = { ...(await content()), images: [{ ...image, size: 701 }] }
  await assert.rejects(writeShareFile(join(folder, 'broken.vml'), broken))
  assert.deepEqual(
    (await readdir(folder)).filter((name) => name.startsWith('broken')),
    [],
  )
})

test('a share cut off at any block is a named failure', async () => {
  const path = join(folder, 'cut.vml')
  const { bytes } = await writeShareFile(path, await content())
  for (let length = bytes - 1; length >= 0; length -= 173) {
    await truncate(path, length)
    await assert.rejects(openShareFile(path), isDamage, `cut at ${length}`)
  }
})

test('an archive with any other name, a link or a second name is no share', async () => {
  for (const [index, make] of [
    ['sh', '-c', 'echo x > ../evil; tar -cPf "$0" ../evil'],
    ['sh', '-c', 'echo x > key; tar -cf "$0" key; echo more >> "$0"'],
    ['sh', '-c', 'ln -s /etc/passwd key; tar -cf "$0" key'],
    ['sh', '-c', 'echo x > key; tar -cf "$0" key key'],
    ['sh', '-c', 'mkdir logbook; tar -cf "$0" logbook'],
    ['sh', '-c', 'head -c 5000 /dev/urandom > "$0"'],
    ['sh', '-c', ': > "$0"'],
  ].entries()) {
    const work = await mkdtemp(join(folder, 'evil-'))
    const path = join(folder, `evil-${index}.vml`)
    const [program = '', ...args] = make
    execFileSync(program, [...args, path], { cwd: await mkdtemp(join(work, 'in-')) })
    await assert.rejects(openShareFile(path), isDamage, make[2])
  }
})
