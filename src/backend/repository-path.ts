// Where the files of a repository lie below its root (restic, doc/design.rst, "Repository Layout").
import type { FileKind, FileRef } from './backend.ts'

export const folderOf: Readonly<Record<Exclude<FileKind, 'config'>, string>> = {
  key: 'keys',
  lock: 'locks',
  snapshot: 'snapshots',
  index: 'index',
  pack: 'data',
  parity: 'parity',
}

/** The folders in that of packs: restic makes all at once, and a put then needs none. */
export const packFolders: readonly string[] = Array.from({ length: 256 }, (_, byte) =>
  byte.toString(16).padStart(2, '0'),
)

export const fileNamePattern = /^[0-9a-f]{64}$/

/** A larger file is neither written nor read: packs of restic end at 128 MiB, and one is held in memory whole. */
export const fileBytesMax = 512 * 1024 * 1024

/** The folder and the name in it; the folder of `config` is the root. */
export function folderAndName({ kind, name }: FileRef): { readonly folder: string; readonly name: string } {
  if (kind === 'config') return { folder: '', name: 'config' }
  if (!fileNamePattern.test(name)) throw new TypeError('The name of a repository file is 64 hex digits')
  return { folder: `${folderOf[kind]}/`, name }
}

/** In folders of files, where packs lie in those that `packFolders` names; with slashes. */
export function pathInRepository(file: FileRef): string {
  const { folder, name } = folderAndName(file)
  return `${folder}${file.kind === 'pack' ? `${name.slice(0, 2)}/` : ''}${name}`
}

/** For messages: the kind, and as much of the name as restic shows. */
export function fileLabel({ kind, name }: FileRef): string {
  return kind === 'config' ? 'config' : `${kind} ${name.slice(0, 8)}`
}
