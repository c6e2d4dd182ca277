import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { openZeroRuns } from './zero-runs.ts'

function split(pieces: readonly Buffer[]): { content: Buffer; holes: number } {
  const runs = openZeroRuns()
  const parts: Buffer[] = []
  let holes = 0
  const take = (segments: ReturnType<typeof runs.push>) => {
    for (const segment of segments) {
      if (segment.kind === 'hole') holes += segment.length
      parts.push(segment.kind === 'hole' ? Buffer.alloc(segment.length) : Buffer.from(segment.bytes))
    }
  }
  for (const piece of pieces) take(runs.push(piece))
  take(runs.end())
  return { content: Buffer.concat(parts), holes }
}

test('content comes out as it went in, however it was cut', () => {
  const run = fc.record({ length: fc.integer({ min: 1, max: 60_000 }), byte: fc.constantFrom(0, 0, 7) })
  fc.assert(
    fc.property(
      fc.array(run, { maxLength: 8 }),
      fc.array(fc.nat(200_000), { maxLength: 5 }),
      (list, cuts) => {
        const whole = Buffer.concat(list.map(({ length, byte }) => Buffer.alloc(length, byte)))
        const edges = [
          0,
          ...cuts.map((cut) => Math.min(cut, whole.length)).sort((a, b) => a - b),
          whole.length,
        ]
        const pieces = edges.slice(1).map((edge, at) => whole.subarray(edges[at], edge))
        assert.ok(split(pieces).content.equals(whole))
      },
    ),
  )
})

test('long runs of zeros become holes across pieces, short ones stay', () => {
  const long = [Buffer.alloc(100_000, 1), Buffer.alloc(500_000), Buffer.alloc(500_000), Buffer.from('end')]
  // What shares a block of the file system with data is written.
  assert.ok(split(long).holes > 1_000_000 - 2 * 4096)
  assert.equal(split([Buffer.alloc(4096, 1), Buffer.alloc(12_000), Buffer.from('x')]).holes, 0)
  assert.equal(split([Buffer.alloc(1_000_000)]).holes, 1_000_000)
})
