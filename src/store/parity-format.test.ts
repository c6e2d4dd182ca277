import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { noise } from '../../test/store-fixture.ts'
import { isFailure } from '../base/failure.ts'
import { type PackId, parseId } from '../model/ids.ts'
import {
  checksumsOf,
  encodeParityFile,
  makeGroup,
  parityBlockBytes,
  type ParityGroup,
  parityHeadBytes,
  type ParityRow,
  readParityHead,
} from './parity-format.ts'

function exampleGroup(
  sizes: readonly number[],
  rows: number,
): { readonly group: ParityGroup; readonly contents: Buffer[] } {
  const rowBytes = Math.max(...sizes)
  const contents = Array.from({ length: rows }, (_, row) => noise(rowBytes, `row ${row}`))
  const members = sizes.map((bytes, at) => {
    const content = noise(bytes, `pack ${at}`)
    const pack = parseId<PackId>(hash('sha256', content)) ?? assert.fail()
    return { pack, bytes, checksums: checksumsOf(content, parityBlockBytes) }
  })
  const checksums = contents.map((content) => checksumsOf(content, parityBlockBytes))
  return { group: makeGroup({ blockBytes: parityBlockBytes, members, rows: checksums, rowBytes }), contents }
}

async function readHead(data: Buffer): Promise<ParityRow> {
  const read = async (offset: number, length: number) => {
    assert.ok(offset >= 0 && length >= 0 && offset + length <= data.length, 'read outside of the file')
    return data.subarray(offset, offset + length)
  }
  return await readParityHead({ size: data.length, read })
}

const example = exampleGroup([200_000, 65_536, 1, 70_000], 2)
const row = encodeParityFile(example.group, 1, example.contents[1] ?? assert.fail())

test('what is written is read, and a row lies between the two copies of what it is', async () => {
  assert.equal(row.name, hash('sha256', row.data))
  const head = await readHead(row.data)
  assert.deepEqual(head, { group: example.group, row: 1, offset: parityHeadBytes(example.group) })
  assert.deepEqual(row.data.subarray(head.offset, head.offset + head.group.rowBytes), example.contents[1])
  assert.equal(row.data.length, 2 * head.offset + head.group.rowBytes)
})

test('damage at either end alone hides nothing', async () => {
  const { group } = example
  const headBytes = parityHeadBytes(group)
  await fc.assert(
    fc.asyncProperty(
      fc.boolean(),
      fc.array(fc.nat(headBytes - 1), { minLength: 1, maxLength: 5 }),
      async (front, places) => {
        const data = Buffer.from(row.data)
        for (const place of places) {
          const at = front ? place : data.length - 1 - place
          data[at] = (data[at] ?? 0) ^ 0x10
        }
        assert.equal((await readHead(data)).group.id, group.id)
      },
    ),
  )
})

test('mutated and cut off files are refused with a name, or read as what they were', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(row.data.length - 1), fc.nat(255)), { maxLength: 20 }),
      fc.array(fc.tuple(fc.nat(80), fc.nat(255)), { maxLength: 4 }),
      fc.option(fc.nat(row.data.length)),
      async (changes, early, cut) => {
        const data = Buffer.from(row.data.subarray(0, cut ?? row.data.length))
        for (const [at, value] of [...changes, ...early]) {
          if (at < data.length) data[at] = value
          if (data.length - 1 - at >= 0 && at < 80) data[data.length - 1 - at] = value
        }
        try {
          const head = await readHead(data)
          assert.deepEqual([head.group.id, head.row], [example.group.id, 1])
        } catch (error) {
          assert.ok(isFailure(error, 'integrity.format'))
        }
      },
    ),
    { numRuns: 500 },
  )
})

test('lengths that lie cost nothing: a digest that is right over numbers that are not is refused', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 400 }), fc.nat(40), async (bytes, filler) => {
      const preamble = Buffer.alloc(48)
      preamble.write('VMLPAR1\n')
      preamble.writeUInt32LE(bytes.length, 8)
      hash('sha256', Buffer.concat([preamble.subarray(0, 16), bytes]), 'buffer').copy(preamble, 16)
      const data = Buffer.concat([preamble, bytes, Buffer.alloc(filler), bytes, preamble])
      await assert.rejects(readHead(data), (error) => isFailure(error, 'integrity.format'))
    }),
  )
})
