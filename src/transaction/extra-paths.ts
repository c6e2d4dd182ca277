// Paths that the user added to what is watched: `/etc/vml/watch.d`, one path a line, in as many files as one likes.
import { readdirSync, readFileSync } from 'node:fs'
import { systemErrorCode, VmlError } from '../base/failure.ts'
import { asRaw, printable, rawFromBytes, rawToBytes } from '../base/raw-text.ts'
import { outermost, parseRawPath, type RawPath, rootPath } from '../model/raw-path.ts'
import { inRoot, pathIn, type Workplace } from './workplace.ts'

export const extraFolder: RawPath = pathIn(rootPath, '/etc/vml/watch.d')
/** Each is compared with each path that changed. */
const extraPathsMax = 1000
const fileBytesMax = 1024 * 1024

/** Lines that begin with `#`, and empty ones, say nothing. `usage` for what is no absolute path. */
export function readExtraPaths(place: Pick<Workplace, 'root'>): RawPath[] {
  const paths: RawPath[] = []
  for (const name of namesIn(rawToBytes(inRoot(place, extraFolder)))) {
    const file = pathIn(extraFolder, name)
    const bytes = readFileSync(rawToBytes(inRoot(place, file)))
    const refuse = (why: string) =>
      new VmlError('usage', `Cannot read "${printable(file)}": ${why}`, {
        hint: 'It has one absolute path a line',
      })
    if (bytes.length > fileBytesMax) throw refuse('it is too long')
    for (const line of rawFromBytes(bytes).split('\n')) {
      if (line === '' || line.startsWith('#')) continue
      const path = parseRawPath(asRaw(line))
      if (path === undefined || path === rootPath)
        throw refuse(`"${printable(asRaw(line))}" is no path to add`)
      paths.push(path)
      if (paths.length > extraPathsMax) throw refuse(`more than ${extraPathsMax} paths were added`)
    }
  }
  return outermost(paths)
}

function namesIn(folder: Buffer): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => /^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name))
      .toSorted()
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return []
    throw error
  }
}
