// Folders of the root that became links into /usr, while packages still list their files by the old names (file-hierarchy(7)).
import { readlinkSync } from 'node:fs'
import { rawFromString } from '../base/raw-text.ts'
import { rootPath, type RawPath } from '../model/raw-path.ts'

const candidates = ['bin', 'sbin', 'lib', 'lib32', 'lib64', 'libo32', 'libx32']

/** Those of the first folders that are links to the one of the same name below /usr. `place` says where a path of the root lies on this host. */
export function readAliases(place: (path: RawPath) => Buffer): ReadonlySet<string> {
  return aliasesAmong((path) => {
    try {
      return readlinkSync(place(path), 'latin1')
    } catch {
      // Not there, or a folder of its own.
      return undefined
    }
  })
}

/** Each of the first folders that may be such a link. */
export const aliasPaths: readonly RawPath[] = candidates.map(
  (name) => rawFromString(`/${name}`) as string as RawPath,
)

/** `target` says where a link leads; undefined for what is none. */
export function aliasesAmong(target: (path: RawPath) => string | undefined): ReadonlySet<string> {
  return new Set(
    candidates.filter((name, index) => {
      const to = target(aliasPaths[index] ?? rootPath)
      return to === `usr/${name}` || to === `/usr/${name}`
    }),
  )
}

/** The old name of what lies below /usr. */
export function withoutUsr(path: RawPath): RawPath {
  return path.slice('/usr'.length) as RawPath
}

/** Where the path lies: `/bin/ls` is `/usr/bin/ls` on a merged machine. The links themselves stay what they are. */
export function underAliases(path: RawPath, aliases: ReadonlySet<string>): RawPath {
  // Nearly all are below it already.
  if (aliases.size === 0 || path.startsWith('/usr/')) return path
  const slash = path.indexOf('/', 1)
  if (slash === -1 || slash > 8 || !aliases.has(path.slice(1, slash))) return path
  return `/usr${path}` as RawPath
}
