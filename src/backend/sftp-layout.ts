// Where the files of a repository lie below a folder of an sftp server (restic, doc/design.rst, "Repository Layout").
import type { FileKind, FileRef } from './backend.ts'

export const folderOf: Readonly<Record<Exclude<FileKind, 'config'>, string>> = {
  key: 'keys',
  lock: 'locks',
  snapshot: 'snapshots',
  index: 'index',
  pack: 'data',
  parity: 'parity',
}
/** restic makes all at once too; a put then needs no folder. */
export const packFolders: readonly string[] = Array.from({ length: 256 }, (_, byte) =>
  byte.toString(16).padStart(2, '0'),
)
export const namePattern = /^[0-9a-f]{64}$/

export function at(folder: string, ...names: readonly string[]): string {
  return [folder === '/' ? '' : folder, ...names].join('/')
}

export function pathOf(folder: string, { kind, name }: FileRef): string {
  if (kind === 'config') return at(folder, 'config')
  if (!namePattern.test(name)) throw new TypeError('The name of a repository file is 64 hex digits')
  return kind === 'pack' ? at(folder, 'data', name.slice(0, 2), name) : at(folder, folderOf[kind], name)
}

export function parentOf(path: string): string {
  const end = path.lastIndexOf('/')
  return end < 0 ? '.' : end === 0 ? '/' : path.slice(0, end)
}
