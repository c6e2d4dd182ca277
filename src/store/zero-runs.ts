// Finds long runs of zeros in content that passes by, so that they come back as holes.
import type { Segment } from '../model/tree.ts'

export interface ZeroRuns {
  /** Segments that are certain by now; views of `bytes`. */
  push(bytes: Buffer): Iterable<Segment>
  end(): Iterable<Segment>
}

// File systems allocate in blocks of 4 KiB: a hole that does not cover whole blocks of the file saves nothing.
const blockBytes = 4096
/** A shorter run is written: each hole costs system calls and an extent. */
const holeBytesMin = 16 * 1024
const zeroBlock = Buffer.alloc(blockBytes)

export function openZeroRuns(): ZeroRuns {
  /** Where in the file the next byte lies. */
  let position = 0
  /** Zeros seen but not given out yet. */
  let held = 0
  return {
    *push(bytes) {
      let dataStart = 0
      // A run that began in bytes before these goes on, or ends, at 0.
      let runStart = held > 0 ? 0 : -1
      for (let at = 0; at < bytes.length;) {
        const block = Math.min(blockBytes - ((position + at) % blockBytes), bytes.length - at)
        if (isZeroBlock(bytes, at, block)) {
          if (runStart < 0) runStart = at
        } else if (runStart >= 0) {
          const run = held + at - runStart
          if (run >= holeBytesMin) {
            if (runStart > dataStart) yield { kind: 'data', bytes: bytes.subarray(dataStart, runStart) }
            yield { kind: 'hole', length: run }
            dataStart = at
          } else {
            yield* zerosAsData(held)
          }
          held = 0
          runStart = -1
        }
        at += block
      }
      const dataEnd = runStart < 0 ? bytes.length : runStart
      if (dataEnd > dataStart) yield { kind: 'data', bytes: bytes.subarray(dataStart, dataEnd) }
      held += bytes.length - dataEnd
      position += bytes.length
    },
    *end() {
      if (held >= holeBytesMin) yield { kind: 'hole', length: held }
      else yield* zerosAsData(held)
      held = 0
    },
  }
}

function* zerosAsData(length: number): Iterable<Segment> {
  for (let left = length; left > 0; left -= blockBytes) {
    yield { kind: 'data', bytes: zeroBlock.subarray(0, Math.min(left, blockBytes)) }
  }
}

function isZeroBlock(bytes: Buffer, at: number, length: number): boolean {
  return bytes[at] === 0 && bytes.compare(zeroBlock, 0, length, at, at + length) === 0
}
