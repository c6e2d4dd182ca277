// Keeps damaged files of a logbook on this computer, where its storage cannot set them aside.
import { join } from 'node:path'
import { makePrivateFolder, writeFileDurable } from '../base/files.ts'
import type { RepositoryId } from '../model/ids.ts'
import type { Folders } from './config.ts'

/** They are as sealed as they were. Returns where each one lies. */
export function keepDamagedFiles(
  folders: Folders,
  repository: RepositoryId,
): (file: { readonly kind: string; readonly name: string }, content: Buffer) => Promise<string> {
  return async ({ kind, name }, content) => {
    const folder = join(folders.data, 'damaged', repository, kind)
    await makePrivateFolder(folder)
    const path = join(folder, name === '' ? kind : name)
    await writeFileDurable(path, content)
    return path
  }
}
