// Reads small blobs many at a time: what lies next to each other in a pack is mostly asked for one after the other.
import type { Backend } from '../backend/backend.ts'
import type { PackId } from '../model/ids.ts'
import type { BlobLocation } from './blob-index.ts'
import type { ReadOptions } from './store.ts'

export interface PackWindows {
  /** The sealed bytes of a blob, the caller's to write over. `packBytes` is what the pack has at least. */
  read(place: BlobLocation, packBytes: number, options: ReadOptions): Promise<Buffer>
  /** Lets go of what it holds; it may be asked again. */
  clear(): void
}

/** Twice what the average folder or small file takes by far; larger blobs gain nothing from neighbours. */
const smallBytesMax = 128 * 1024
const windowBytes = 512 * 1024
const windowsMax = 12
/** A pack that was read from this recently is likely to be read from again. */
const recentPacksMax = 8

interface Window {
  readonly pack: PackId
  readonly start: number
  readonly end: number
  readonly bytes: Promise<Buffer | undefined>
}

/** Holds 6 MiB at most. */
export function openPackWindows(backend: Backend): PackWindows {
  // The last ones are the ones used last.
  const windows: Window[] = []
  const recent: PackId[] = []

  const isRecent = (pack: PackId): boolean => {
    const at = recent.indexOf(pack)
    if (at >= 0) recent.splice(at, 1)
    recent.push(pack)
    if (recent.length > recentPacksMax) recent.shift()
    return at >= 0
  }
  const find = ({ pack, offset, length }: BlobLocation): Window | undefined => {
    const at = windows.findLastIndex(
      (window) => window.pack === pack && window.start <= offset && offset + length <= window.end,
    )
    const [found] = at < 0 ? [] : windows.splice(at, 1)
    if (found) windows.push(found)
    return found
  }
  const open = (pack: PackId, start: number, end: number, options: ReadOptions): Window => {
    const range = { offset: start, length: end - start }
    // Not there, cut off, given up by another caller: then each blob is asked for by itself, and that tells.
    const bytes = backend.get({ kind: 'pack', name: pack }, range, options).catch(() => undefined)
    const window = { pack, start, end, bytes }
    windows.push(window)
    if (windows.length > windowsMax) windows.shift()
    return window
  }
  return {
    clear() {
      windows.length = 0
    },
    async read(place, packBytes, options) {
      const { pack, offset, length } = place
      const end = Math.min(offset + windowBytes, packBytes)
      if (length <= smallBytesMax && offset + length <= end) {
        const known = find(place)
        const window = known ?? (isRecent(pack) ? open(pack, offset, end, options) : undefined)
        const bytes = await window?.bytes
        if (window && bytes)
          return Buffer.from(bytes.subarray(offset - window.start, offset - window.start + length))
        if (window && windows.includes(window)) windows.splice(windows.indexOf(window), 1)
      }
      return await backend.get({ kind: 'pack', name: pack }, { offset, length }, options)
    },
  }
}
