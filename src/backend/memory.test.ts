import assert from 'node:assert/strict'
import { test } from 'node:test'
import { testBackend } from '../../test/conformance/backend.ts'
import { openMemory } from './memory.ts'

testBackend(
  'memory',
  async () => {
    const files = new Map<string, Buffer>()
    return { open: () => openMemory({ files }), async [Symbol.asyncDispose]() {} }
  },
  { reachable: false },
)

test('memory that was opened to read refuses to write', async () => {
  const backend = openMemory({ readOnly: true })
  await assert.rejects(backend.put({ kind: 'config', name: '' }, Buffer.from('x')), { code: 'unsupported' })
  await assert.rejects(backend.remove({ kind: 'config', name: '' }), { code: 'unsupported' })
})
