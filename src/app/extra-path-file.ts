// Adds paths to what is watched, and takes them away: in a file of `/etc/vml/watch.d` that is VML's own to write.
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemErrorCode } from '../base/failure.ts'
import { writeFileDurable } from '../base/files.ts'
import { rawFromBytes, rawToBytes, asRaw } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import { extraFolder } from '../transaction/extra-paths.ts'

export const extraPathFile = join(extraFolder, 'paths')

export function readExtraPathFile(): string[] {
  try {
    return rawFromBytes(readFileSync(extraPathFile)).split('\n').filter(Boolean)
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return []
    throw error
  }
}

/** Other lines stay as they are. Tells which of the paths were not there already. */
export async function addExtraPaths(paths: readonly RawPath[]): Promise<RawPath[]> {
  const lines = readExtraPathFile()
  const added = paths.filter((path) => !lines.includes(path))
  if (added.length > 0) await write([...lines, ...added])
  return added
}

export async function removeExtraPaths(paths: readonly RawPath[]): Promise<RawPath[]> {
  const lines = readExtraPathFile()
  const removed = paths.filter((path) => lines.includes(path))
  if (removed.length > 0) await write(lines.filter((line) => !removed.some((path) => path === line)))
  return removed
}

async function write(lines: readonly string[]): Promise<void> {
  mkdirSync(extraFolder, { recursive: true, mode: 0o755 })
  await writeFileDurable(extraPathFile, rawToBytes(asRaw(lines.map((line) => `${line}\n`).join(''))), {
    mode: 0o644,
  })
}
