// Remembers which folders of this host a restore made, so that a later one may delete in them.
import { createHash } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { makePrivateFolder, writeFileDurable } from '../base/files.ts'
import type { Config } from './config.ts'

/** True when this very folder (by device and inode, not only by name) was filled by a restore. */
export async function isOwnRestore(config: Config, folder: string): Promise<boolean> {
  const identity = await identify(folder)
  const noted = await readFile(noteFile(config, identity), 'utf8').catch(() => undefined)
  return noted === identity
}

export async function noteOwnRestore(config: Config, folder: string): Promise<void> {
  const identity = await identify(folder)
  const file = noteFile(config, identity)
  await makePrivateFolder(join(config.folders.state, 'restored'))
  await writeFileDurable(file, identity)
}

async function identify(folder: string): Promise<string> {
  const { dev, ino, birthtimeNs } = await stat(folder, { bigint: true })
  return `${dev}:${ino}:${birthtimeNs}`
}

function noteFile(config: Config, identity: string): string {
  return join(
    config.folders.state,
    'restored',
    createHash('sha256').update(identity).digest('hex').slice(0, 32),
  )
}
