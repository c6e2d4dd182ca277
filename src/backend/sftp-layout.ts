// Paths on an sftp server, and where the files of a repository lie below a folder of it.
import type { FileRef } from './backend.ts'
import { pathInRepository } from './repository-path.ts'

export function at(folder: string, ...names: readonly string[]): string {
  return [folder === '/' ? '' : folder, ...names].join('/')
}

export function pathOf(folder: string, file: FileRef): string {
  return at(folder, pathInRepository(file))
}

export function parentOf(path: string): string {
  const end = path.lastIndexOf('/')
  return end < 0 ? '.' : end === 0 ? '/' : path.slice(0, end)
}
