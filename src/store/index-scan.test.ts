import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { parseIndexFile } from '../../test/index-oracle.ts'
import { array, assert as hold, constantFrom, nat, property, record, uint8Array } from 'fast-check'
import { isFailure } from '../base/failure.ts'
import { scanIndex } from './index-scan.ts'

const id = nat(50).map((seed) => createHash('sha256').update(String(seed)).digest('hex'))
const blob = record({
  id,
  type: constantFrom('data', 'tree'),
  offset: nat(0x7fff_ffff),
  length: nat(0x7fff_ffff),
  uncompressed_length: nat(3).map((length) => length * 1000),
})
const file = record({
  supersedes: array(id, { maxLength: 3 }),
  packs: array(record({ id, blobs: array(blob, { maxLength: 5 }) }), { maxLength: 4 }),
  unknown: constantFrom(null, 1, { packs: [] }, 'x'),
})

function scan(bytes: Uint8Array) {
  const { packs, supersedes } = scanIndex(bytes, 'index 12345678')
  return { packs: [...packs], supersedes }
}

test('scanned pack by pack, an index says the same as when it is parsed as a whole', () => {
  hold(
    property(file, (value) => {
      assert.deepEqual(scan(Buffer.from(JSON.stringify(value))), parseIndexFile(value))
      const { packs, ...rest } = value
      // Another order of the fields, and spaces.
      const turned = {
        packs: packs.map(({ id: pack, blobs }) => ({ blobs, id: pack })),
        ...rest,
      }
      assert.deepEqual(scan(Buffer.from(JSON.stringify(turned, null, 2))), parseIndexFile(value))
    }),
  )
})

test('an index that was changed anywhere is read as something or refused by name, never a defect', () => {
  hold(
    property(file, nat(100_000), uint8Array({ minLength: 0, maxLength: 4 }), (value, place, put) => {
      const bytes = Buffer.from(JSON.stringify(value))
      const at = place % bytes.length
      const mutated = Buffer.concat([bytes.subarray(0, at), put, bytes.subarray(at + put.length + 1)])
      try {
        scan(mutated)
      } catch (error) {
        assert.ok(isFailure(error, 'integrity.format'), String(error))
        assert.match(error.message, /index 12345678/)
      }
    }),
  )
})
