// Writes the files of a data set, each with the same time, and lets the rest of the program breathe meanwhile.
import { closeSync, futimesSync, mkdirSync, openSync, utimesSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'

/** Of every file and folder, so that a set made anew is the same one. */
const modifiedAt = new Date('2026-03-01T12:00:00.123Z')

export interface Piece {
  readonly at: number
  readonly bytes: Uint8Array
}

export interface Maker {
  /** The path of a name in a folder below the root, which is made where it is not there. */
  place(folder: string, name: string): string
  /** One piece after the other; what none of them covers is a hole. */
  write(path: string, pieces: Iterable<Piece>): Promise<void>
  /** Of the written files, in order. */
  readonly written: readonly string[]
  /** As `ls` shows them, holes included. */
  readonly bytes: number
  finish(): void
}

/** Pieces are written without waiting; after so many bytes or files, a signal is heard. */
const breathBytes = 16 * 1024 * 1024
const breathFiles = 500

export function openMaker(root: string, signal: AbortSignal): Maker {
  const folders = new Set<string>()
  const written: string[] = []
  let bytes = 0
  let breath = 0
  const breathe = async (cost: number) => {
    breath += cost
    if (breath < breathBytes) return
    breath = 0
    await setImmediate()
    signal.throwIfAborted()
  }
  return {
    written,
    get bytes() {
      return bytes
    },
    place(folder, name) {
      const path = join(root, folder)
      if (!folders.has(path)) mkdirSync(path, { recursive: true })
      folders.add(path)
      return join(path, name)
    },
    async write(path, pieces) {
      const file = openSync(path, 'w')
      let size = 0
      try {
        for (const { at, bytes: piece } of pieces) {
          for (let done = 0; done < piece.length;)
            done += writeSync(file, piece, done, piece.length - done, at + done)
          size = Math.max(size, at + piece.length)
          await breathe(piece.length)
        }
        futimesSync(file, modifiedAt, modifiedAt)
      } finally {
        closeSync(file)
      }
      bytes += size
      written.push(path)
      await breathe(breathBytes / breathFiles)
    },
    finish() {
      for (const folder of [...folders].toSorted().toReversed()) utimesSync(folder, modifiedAt, modifiedAt)
    },
  }
}

/** A file in one piece. */
export function whole(bytes: Uint8Array): Piece[] {
  return [{ at: 0, bytes }]
}
