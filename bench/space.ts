// How much room a run needs below the cache folder, and whether it is there.
import { statfsSync } from 'node:fs'

export interface Space {
  readonly bytes: number
  readonly files: number
}

export const noSpace: Space = { bytes: 0, files: 0 }

/** The disk is not ours alone. */
const spareBytes = 2e9
const spareFiles = 100_000

export function addSpace(...parts: readonly Space[]): Space {
  return {
    bytes: parts.reduce((sum, { bytes }) => sum + bytes, 0),
    files: parts.reduce((sum, { files }) => sum + files, 0),
  }
}

export function timesSpace({ bytes, files }: Space, times: number): Space {
  return { bytes: bytes * times, files: files * times }
}

/** Of cases that follow each other and clean up behind them. */
export function mostSpace(parts: readonly Space[]): Space {
  return {
    bytes: Math.max(0, ...parts.map(({ bytes }) => bytes)),
    files: Math.max(0, ...parts.map(({ files }) => files)),
  }
}

/** A sentence for people, and whether there is enough. */
export function judgeSpace(folder: string, need: Space): { readonly enough: boolean; readonly says: string } {
  const { bavail, bsize, files: inodes, ffree } = statfsSync(folder)
  const freeBytes = bavail * bsize
  // File systems without a table of inodes have none of them.
  const freeFiles = inodes === 0 ? Number.POSITIVE_INFINITY : ffree
  const says = `Needs up to ${inGigabytes(need.bytes)} and ${Math.ceil(need.files)} files below ${folder}; ${inGigabytes(freeBytes)} and ${freeFiles} are free`
  return {
    enough: freeBytes >= need.bytes + spareBytes && freeFiles >= need.files + spareFiles,
    says,
  }
}

function inGigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`
}
