// What VML itself keeps on this computer and no entry may ever hold: keys, state, caches, secrets, the open logbook.
import { realpathSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { rawFromString } from '../base/raw-text.ts'
import { parseRawPath, type RawPath } from '../model/raw-path.ts'
import { type Config, userConfigFile } from './config.ts'
import { keysFolder } from './keyring.ts'

export interface OwnPath {
  readonly path: RawPath
  /** In words: `VML's keys`, `the open logbook`. */
  readonly what: string
}

/** Each under the name it was given and, where that goes through links, under its real one too. */
export function ownPaths(config: Config): readonly OwnPath[] {
  const { folders } = config
  const wanted: readonly (readonly [string | undefined, string])[] = [
    [keysFolder(folders), "VML's keys"],
    [folders.data, "VML's data"],
    [folders.state, "VML's state"],
    [folders.cache, "VML's cache"],
    [config.passwordFile?.value, 'the file of a password'],
    // The user's config.toml is the user's own and is captured, unless a password could stand in it.
    [
      config.passwordCommand?.from === userConfigFile(config) ? userConfigFile(config) : undefined,
      'a password command',
    ],
    [config.logbook?.value.startsWith('/') ? config.logbook.value : undefined, 'the open logbook'],
  ]
  const paths = new Map<RawPath, string>()
  for (const [path, what] of wanted) {
    if (path === undefined) continue
    for (const name of [path, realPath(path)]) {
      const raw = parseRawPath(rawFromString(name))
      if (raw !== undefined && !paths.has(raw)) paths.set(raw, what)
    }
  }
  return [...paths].map(([path, what]) => ({ path, what }))
}

/** The path without links, as far as it exists. */
function realPath(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    const parent = dirname(path)
    return parent === path ? path : join(realPath(parent), path.slice(parent.length))
  }
}
