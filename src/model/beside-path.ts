// The name under which one side of a conflict is put beside a path that stays as it is.
import { baseName, callPathBytesMax, nameBytesMax, parentPath, type RawPath, rootPath } from './raw-path.ts'

/** A name that would be too long loses its end; a folder that is too deep for any has it in the nearest one above that is not. */
export function besidePath(path: RawPath, ending: string): RawPath {
  for (let folder = parentPath(path); ; folder = parentPath(folder)) {
    const start = folder === rootPath ? '/' : `${folder}/`
    const stemBytesMax = Math.min(nameBytesMax, callPathBytesMax - start.length) - ending.length
    if (stemBytesMax > 0) return `${start}${cut(baseName(path), stemBytesMax)}${ending}` as RawPath
  }
}

/** The first of `.old`, `.old.1`, `.old.2`, … that nothing has; the same with `.mine`. */
export function freeBeside(path: RawPath, side: 'mine' | 'old', isFree: (path: RawPath) => boolean): RawPath {
  for (let number = 0; ; number++) {
    const candidate = besidePath(path, `.${side}${number === 0 ? '' : `.${number}`}`)
    if (isFree(candidate)) return candidate
  }
}

/** Not within a character: one of UTF-8 has three more bytes at most, each 10xxxxxx (RFC 3629). */
function cut(name: string, bytesMax: number): string {
  let end = bytesMax
  while (end > Math.max(1, bytesMax - 3) && (name.charCodeAt(end) & 0xc0) === 0x80) end--
  return name.slice(0, end)
}
