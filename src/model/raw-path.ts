// Paths and names of a machine, as bytes: never names of this host.
import { asRaw, type RawText } from '../base/raw-text.ts'

declare const path: unique symbol
declare const name: unique symbol

/** An absolute path without `.`, `..`, empty parts or a slash at the end (except the root, `/`). */
export type RawPath = RawText & { readonly [path]: true }
/** One part of a path: not empty, not `.` or `..`, without slash and NUL. */
export type RawName = RawText & { readonly [name]: true }

export const rootPath = '/' as RawPath

/** Linux: PATH_MAX and NAME_MAX bound what one system call takes; deeper trees exist, hence the larger bound. */
export const pathBytesMax = 64 * 1024
export const nameBytesMax = 255
/** What one call takes: PATH_MAX counts the NUL at the end (limits.h). */
export const callPathBytesMax = 4095
/** Of one entry: about 1.5 KiB of memory each while it is saved or restored, so that more would end the process instead. */
export const entryPathsMax = 2_500_000

export function isRawName(text: string): text is RawName {
  return (
    text.length > 0 &&
    text.length <= nameBytesMax &&
    text !== '.' &&
    text !== '..' &&
    !text.includes('/') &&
    !text.includes('\0')
  )
}

/** The path in its one form, or undefined when it is not absolute, holds `..` or NUL, or is too long. */
export function parseRawPath(text: RawText): RawPath | undefined {
  if (!text.startsWith('/') || text.length > pathBytesMax || text.includes('\0')) return undefined
  const parts = text.split('/').filter((part) => part !== '' && part !== '.')
  if (parts.includes('..')) return undefined
  return asRaw(`/${parts.join('/')}`) as RawPath
}

export function joinPath(folder: RawPath, child: RawName): RawPath {
  return (folder === '/' ? `/${child}` : `${folder}/${child}`) as RawPath
}

export function parentPath(of: RawPath): RawPath {
  const slash = of.lastIndexOf('/')
  return (slash <= 0 ? '/' : of.slice(0, slash)) as RawPath
}

export function baseName(of: RawPath): RawName {
  return of.slice(of.lastIndexOf('/') + 1) as RawName
}

/** The parts from the root down; none for the root itself. */
export function pathParts(of: RawPath): RawName[] {
  return of === '/' ? [] : (of.slice(1).split('/') as RawName[])
}

/** Whether `inner` is `outer` or lies below it. */
export function isWithin(inner: RawPath, outer: RawPath): boolean {
  return outer === '/' || inner === outer || inner.startsWith(`${outer}/`)
}

/** The path itself, or the nearest folder above it, that is one of these; the root counts too. */
export function nearestIn(path: RawPath, among: { has(path: RawPath): boolean }): RawPath | undefined {
  for (let at = path; ; at = parentPath(at)) {
    if (among.has(at)) return at
    if (at === rootPath) return undefined
  }
}

/** What is said of the path itself, or of the nearest folder above it of which anything is said. */
export function nearestOf<T>(path: RawPath, said: ReadonlyMap<RawPath, T>): T | undefined {
  const at = nearestIn(path, said)
  return at === undefined ? undefined : said.get(at)
}

/** Without doubles and those that lie below another one. */
export function outermost(paths: Iterable<RawPath>): RawPath[] {
  const all = new Set(paths)
  return [...all].filter((path) => path === rootPath || nearestIn(parentPath(path), all) === undefined)
}

/** Bytewise order, as restic sorts the names of a tree. */
export function compareRaw(left: string, right: string): -1 | 0 | 1 {
  return left < right ? -1 : left > right ? 1 : 0
}
