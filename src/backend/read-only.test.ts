import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openMemory } from './memory.ts'
import { openReadOnly } from './read-only.ts'

test('a storage that is only read refuses every write and gives everything else', async () => {
  const files = new Map<string, Buffer>()
  const file = { kind: 'pack', name: 'ab'.repeat(32) } as const
  await openMemory({ files }).put(file, Buffer.from('content'))
  const before = new Map(files)
  const backend = openReadOnly(openMemory({ files }))
  assert.ok(backend.traits.readOnly)
  await assert.rejects(backend.create(), { code: 'unsupported' })
  await assert.rejects(backend.put(file, Buffer.from('content')), { code: 'unsupported' })
  await assert.rejects(backend.remove(file), { code: 'unsupported' })
  assert.deepEqual(files, before)
  assert.equal((await backend.get(file, { offset: 3, length: 2 })).toString(), 'te')
  assert.equal(await backend.size(file), 7)
  assert.deepEqual(await Array.fromAsync(backend.list('pack')), [{ name: file.name, size: 7 }])
})
