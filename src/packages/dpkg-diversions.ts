// Diversions: paths that packages list, and that lie elsewhere so that another one has its own there (dpkg-divert(1)).
import type { RawText } from '../base/raw-text.ts'
import { parseRawPath, type RawPath } from '../model/raw-path.ts'

export interface Diversion {
  /** What packages list. */
  readonly path: RawPath
  /** Where the file of all others lies. */
  readonly target: RawPath
  /** The one whose own file lies at `path`; a diversion of the administrator's has none. */
  readonly package: string | undefined
}

export interface Diversions {
  readonly byPath: ReadonlyMap<RawPath, Diversion>
  readonly byTarget: ReadonlyMap<RawPath, Diversion>
}

/** The database is three lines each: path, target, package or `:`. `place` is where a path lies. Lines that are none are passed over. */
export function readDiversions(text: RawText, place: (path: RawPath) => RawPath): Diversions {
  const lines = text.split('\n')
  const all: Diversion[] = []
  for (let at = 0; at + 2 < lines.length; at += 3) {
    const path = parseRawPath((lines[at] ?? '') as RawText)
    const target = parseRawPath((lines[at + 1] ?? '') as RawText)
    const name = lines[at + 2]
    if (path === undefined || target === undefined) continue
    all.push({ path: place(path), target: place(target), package: name === ':' ? undefined : name })
  }
  return {
    byPath: new Map(all.map((one) => [one.path, one])),
    byTarget: new Map(all.map((one) => [one.target, one])),
  }
}
