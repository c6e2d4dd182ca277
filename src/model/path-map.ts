// Where paths of an entry go on another machine or below a folder: a list of renamed folders.
import { isWithin, type RawPath, rootPath } from './raw-path.ts'

export interface PathRename {
  readonly from: RawPath
  readonly to: RawPath
}

export interface PathMap {
  readonly renames: readonly PathRename[]
  /** The path on the target. The longest `from` wins; without one a path keeps its name. */
  forward(path: RawPath): RawPath
  /** The path in the entry that a target's path stands for. */
  backward(path: RawPath): RawPath
}

export const identityMap: PathMap = pathMap([])

export function pathMap(renames: readonly PathRename[]): PathMap {
  const byFrom = [...renames].sort((a, b) => b.from.length - a.from.length)
  const byTo = [...renames].sort((a, b) => b.to.length - a.to.length)
  return {
    renames,
    forward(path) {
      const rename = byFrom.find(({ from }) => isWithin(path, from))
      return rename ? replaceFolder(path, rename.from, rename.to) : path
    },
    backward(path) {
      const rename = byTo.find(({ to }) => isWithin(path, to))
      return rename ? replaceFolder(path, rename.to, rename.from) : path
    },
  }
}

function replaceFolder(path: RawPath, from: RawPath, to: RawPath): RawPath {
  const rest = from === rootPath ? path : path.slice(from.length)
  const head = to === rootPath ? '' : to
  return (rest === '' || rest === '/' ? to : `${head}${rest}`) as RawPath
}
