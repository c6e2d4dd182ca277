// Durable, private file writes: temp, fsync, rename, fsync of the folder.
import { randomBytes } from 'node:crypto'
import { mkdir, open, rename, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'

/**
 * Writes a file so that at any moment either the old or the whole new content is there, and the new one is
 * durable when this returns. The file is readable by its owner alone unless `mode` says otherwise.
 */
export async function writeFileDurable(
  path: string,
  data: Uint8Array | string,
  options: { mode?: number } = {},
): Promise<void> {
  await using prepared = await prepareFile(path, data, options)
  await prepared.put()
}

export interface PreparedFile extends AsyncDisposable {
  /** From here on it is the file, durably; else it goes when it is disposed of. */
  put(): Promise<void>
}

/** The new content, written beside: what comes later does not fail for want of room. */
export async function prepareFile(
  path: string,
  data: Uint8Array | string,
  options: { mode?: number } = {},
): Promise<PreparedFile> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`
  const remove = async () => await unlink(temporary).catch(() => {})
  const file = await open(temporary, 'wx', options.mode ?? 0o600)
  try {
    try {
      await file.writeFile(data)
      await file.sync()
    } finally {
      await file.close()
    }
  } catch (error) {
    await remove()
    throw error
  }
  let isPut = false
  return {
    async put() {
      await rename(temporary, path)
      isPut = true
      await syncFolder(dirname(path))
    },
    async [Symbol.asyncDispose]() {
      if (!isPut) await remove()
    },
  }
}

/** Makes the names in a folder durable. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/** Makes a folder and its parents that only the owner can enter. */
export async function makePrivateFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 })
}
