import assert from 'node:assert/strict'
import { test } from 'node:test'
import { testOverMemory } from '../../test/conformance/backend.ts'
import { openMemory } from './memory.ts'

testOverMemory('memory', (storage) => storage)

test('memory that was opened to read refuses to write', async () => {
  const backend = openMemory({ readOnly: true })
  await assert.rejects(backend.put({ kind: 'config', name: '' }, Buffer.from('x')), { code: 'unsupported' })
  await assert.rejects(backend.remove({ kind: 'config', name: '' }), { code: 'unsupported' })
})
