import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { isFailure } from '../base/failure.ts'
import {
  encodePacket,
  hasStatus,
  openPacketReader,
  readAttributes,
  readStatus,
  status,
} from './sftp-packets.ts'

const u32 = fc.integer({ min: 0, max: 0xffff_ffff })
const u64 = fc.bigInt({ min: 0n, max: BigInt(Number.MAX_SAFE_INTEGER) })

test('what is encoded is read again, with its length in front', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 255 }),
      u32,
      u64,
      fc.uint8Array({ maxLength: 300 }),
      (type, a, b, c) => {
        const packet = encodePacket(type, [a, b, c], 17)
        assert.equal(packet.readUInt32BE(), packet.length - 4 + 17)
        assert.equal(packet[4], type)
        const reader = openPacketReader(packet, 5)
        assert.equal(reader.u32(), a)
        assert.equal(BigInt(reader.u64()), b)
        assert.deepEqual(reader.text(), Buffer.from(c))
        assert.equal(reader.left, 0)
      },
    ),
  )
})

test('attributes of any server are read, or refused by name: never more, never less', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      for (const read of [readAttributes, readStatus]) {
        try {
          read(openPacketReader(Buffer.from(bytes), 0))
        } catch (error) {
          assert.ok(isFailure(error, 'remote.protocol'))
        }
      }
    }),
    { numRuns: 2000 },
  )
})

test('size, mode and time are found among all other attributes', () => {
  fc.assert(
    fc.property(u64, u32, u32, fc.integer({ min: 0, max: 3 }), (size, mode, mtimeS, extended) => {
      const pairs = Array.from({ length: extended }, () => ['name@example', 'value']).flat()
      const fields = [0x8000_000f, size, 1, 2, mode, 3, mtimeS, extended, ...pairs]
      const packet = encodePacket(105, fields)
      assert.deepEqual(readAttributes(openPacketReader(packet, 5)), { size: Number(size), mode, mtimeS })
    }),
  )
})

test('a status has its failure, and what the server says is safe to print', () => {
  const read = (...fields: readonly (number | string)[]) =>
    readStatus(openPacketReader(encodePacket(101, fields), 5))
  assert.equal(read(status.ok, 'Success', ''), undefined)
  assert.equal(read(status.noSuchFile, 'No such file', '')?.code, 'not-found')
  assert.equal(read(status.permissionDenied, '', '')?.code, 'remote.denied')
  assert.equal(read(status.connectionLost, '', '')?.code, 'unavailable.network')
  const failure = read(status.failure, 'Fail\u001b[31m\u202e', '')
  assert.ok(failure && hasStatus(failure, status.failure))
  assert.equal(failure.code, 'failed')
  for (const sign of ['\u001b', '\u202e']) assert.ok(!failure.message.includes(sign))
  assert.ok((read(status.failure, 'x'.repeat(100_000), '')?.message.length ?? 0) < 1000)
})
