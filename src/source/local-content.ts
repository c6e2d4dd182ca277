// Puts bytes into a new file of this host, and leaves out what is zero: what is not written is a hole.
import { writeSync } from 'node:fs'

/** Smaller files have no room for a hole that saves anything. */
const holedBytesMin = 64 * 1024
/** A shorter run of zeros within a piece is written: each hole costs an extent. */
const holeBytesMin = 16 * 1024
/** File systems allocate in blocks of 4 KiB. */
const blockBytes = 4096
const zeroBlock = Buffer.alloc(blockBytes)

/**
 * Nothing was ever written there before. A run of zeros that reaches an end of the piece may go on in the next one and
 * is always left out. Returns whether anything was.
 */
export function writeContent(
  file: number,
  { at, bytes, size }: { readonly at: number; readonly bytes: Uint8Array; readonly size: number },
): boolean {
  if (size < holedBytesMin) {
    writeAll(file, bytes, at)
    return false
  }
  let dataStart = 0
  let runStart = -1
  let left = false
  for (let next = 0; next <= bytes.length;) {
    const length = Math.min(blockBytes - ((at + next) % blockBytes), bytes.length - next)
    if (length > 0 && isZero(bytes, next, length)) {
      if (runStart < 0) runStart = next
      next += length
      continue
    }
    const isHole = next - runStart >= holeBytesMin || runStart === 0 || length === 0
    if (runStart >= 0 && isHole) {
      writeAll(file, bytes.subarray(dataStart, runStart), at + dataStart)
      dataStart = next
      left = true
    }
    runStart = -1
    if (length === 0) break
    next += length
  }
  writeAll(file, bytes.subarray(dataStart), at + dataStart)
  return left
}

function isZero(bytes: Uint8Array, at: number, length: number): boolean {
  return bytes[at] === 0 && zeroBlock.compare(bytes, at, at + length, 0, length) === 0
}

function writeAll(file: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length;)
    done += writeSync(file, bytes, done, bytes.length - done, position + done)
}
