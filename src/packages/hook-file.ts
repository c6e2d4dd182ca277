// Files of hooks that a package manager reads: written whole, readable by everybody; and what may not be there.
import { constants } from 'node:fs'
import { open, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { systemErrorCode } from '../base/failure.ts'

/**
 * Everybody has to be able to read it, whatever the umask: a package manager fails for a user who cannot read its configuration. `temporary` is a
 * name that is known beforehand, so that what a cut leaves is found by the next one. The caller makes the name durable.
 */
export async function writeHookFile(
  place: string,
  { temporary, mode, text }: { readonly temporary: string; readonly mode: number; readonly text: string },
): Promise<void> {
  await rm(temporary, { force: true })
  const file = await open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600)
  try {
    await file.writeFile(text)
    await file.chmod(mode)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, place)
}

/** The paths, below a root, of those that are there as they would be written. */
export async function writtenAmong(
  root: string,
  files: readonly { readonly path: string; readonly mode: number; readonly text: string }[],
): Promise<string[]> {
  const written: string[] = []
  for (const file of files) if (await isWritten(join(root, file.path), file)) written.push(file.path)
  return written
}

async function isWritten(
  place: string,
  { mode, text }: { readonly mode: number; readonly text: string },
): Promise<boolean> {
  if ((await textOf(place)) !== text) return false
  const status = await absent(stat(place))
  return status !== undefined && (status.mode & 0o7777) === mode
}

/** Undefined where nothing is. */
export async function absent<Value>(asked: Promise<Value>): Promise<Value | undefined> {
  try {
    return await asked
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemErrorCode(error) ?? '')) return undefined
    throw error
  }
}

export async function textOf(path: string): Promise<string | undefined> {
  return await absent(readFile(path, 'utf8'))
}
