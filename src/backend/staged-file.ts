// Writes to a file that was staged (backend.ts), in whatever thread its content comes to be.
import { writeSync } from 'node:fs'
import { explainDiskFailure } from './disk-failure.ts'

/** Fails as a `put` would: never as a system call, which a reader of files would take for one of its own. */
export function writeStaged(descriptor: number, bytes: Uint8Array, position: number): void {
  try {
    for (let at = 0; at < bytes.length;)
      at += writeSync(descriptor, bytes, at, bytes.length - at, position + at)
  } catch (error) {
    throw explainDiskFailure('write a pack', error)
  }
}
