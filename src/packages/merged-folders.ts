// Folders of the root that became links into /usr, while packages still list their files by the old names (file-hierarchy(7)).
import { readlinkSync } from 'node:fs'
import { rawFromString } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'

const candidates = ['bin', 'sbin', 'lib', 'lib32', 'lib64', 'libo32', 'libx32']

/** Those of the first folders that are links to the one of the same name below /usr. `place` says where a path of the root lies on this host. */
export function readAliases(place: (path: RawPath) => Buffer): ReadonlySet<string> {
  return new Set(
    candidates.filter((name) => {
      try {
        const target = readlinkSync(place(rawFromString(`/${name}`) as string as RawPath), 'latin1')
        return target === `usr/${name}` || target === `/usr/${name}`
      } catch {
        // Not there, or a folder of its own.
        return false
      }
    }),
  )
}

/** Where the path lies: `/bin/ls` is `/usr/bin/ls` on a merged machine. The links themselves stay what they are. */
export function underAliases(path: RawPath, aliases: ReadonlySet<string>): RawPath {
  if (aliases.size === 0) return path
  const slash = path.indexOf('/', 1)
  if (slash === -1 || slash > 8 || !aliases.has(path.slice(1, slash))) return path
  return `/usr${path}` as RawPath
}
