// What lies in folders that are the real ones in a stage, and was written while a command ran there: throwing the stage away does not take it back.
import { type BigIntStats, type Dirent, lstatSync, readdirSync } from 'node:fs'
import { asRaw, rawFromBytes, rawToBytes } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import { besideName, heldSince, realFolders, unheldFolders } from './held-files.ts'
import { inRoot, type Workplace } from './workplace.ts'

/** A look that nobody waits for: where more lies there, the rest is not looked at. */
const looksMax = 5000
/** The kernel's clock for files goes in steps, of 10 ms at most. */
const clockStepMs = 10

/**
 * Files and links of which the status changed since; by the command or by others, which nothing tells. Sorted. A second name, by which they are held, changed it before the
 * command ran.
 */
export function writtenAtOnce(
  place: Pick<Workplace, 'root' | 'state' | 'disk'>,
  sinceMs: number,
): readonly RawPath[] {
  const heldNs = heldSince(place)
  const sinceNs = heldNs === undefined ? BigInt(sinceMs - clockStepMs) * 1_000_000n : heldNs + 1n
  const written: RawPath[] = []
  let looks = 0
  const look = (folder: RawPath): void => {
    for (const entry of listed(inRoot(place, folder))) {
      const path = asRaw(`${folder}/${rawFromBytes(entry.name)}`) as RawPath
      if (unheldFolders.has(path) || path.includes(`/${besideName}`) || ++looks > looksMax) continue
      if (entry.isDirectory()) look(path)
      else if (entry.isFile() || entry.isSymbolicLink()) {
        const status = statusOf(inRoot(place, path))
        if (status && status.ctimeNs >= sinceNs) written.push(path)
      }
    }
  }
  for (const folder of realFolders) look(folder)
  return written.toSorted()
}

/** What goes away meanwhile, or is none, has nothing in it. */
function listed(folder: RawPath): readonly Dirent<Buffer>[] {
  try {
    return readdirSync(rawToBytes(folder), { withFileTypes: true, encoding: 'buffer' })
  } catch {
    return []
  }
}

function statusOf(path: RawPath): BigIntStats | undefined {
  return lstatSync(rawToBytes(path), { bigint: true, throwIfNoEntry: false })
}
