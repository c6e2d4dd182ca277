// Pins: second names of files of the machine, by the hash of their content, that keep what deltas were made against.
import { linkSync, lstatSync, mkdirSync, readdirSync, readFileSync, type Stats, unlinkSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { systemErrorCode } from '../base/failure.ts'
import { writeFileDurable } from '../base/files.ts'
import { rawToBytes } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import { sha256Of as hashFile } from '../stage/fingerprint.ts'
import { inRoot, pathIn, type Workplace } from './workplace.ts'

type Place = Pick<Workplace, 'root' | 'state'>
type State = Pick<Workplace, 'state'>

/** Where the content with this hash lies, if it is pinned: it costs nothing while the file itself stays. */
export function pinPath({ state }: State, sha256: string): RawPath {
  return pathIn(state, 'pins', sha256)
}

/** `path` has that content now. False where it cannot be linked: another file system, too many names. */
export async function pinContent(place: Place, path: RawPath, sha256: string): Promise<boolean> {
  const pin = pinPath(place, sha256)
  try {
    mkdirSync(pathIn(place.state, 'pins'), { recursive: true, mode: 0o700 })
    const there = lstatSync(rawToBytes(pin), { throwIfNoEntry: false })
    if (there) {
      if ((await hashFile(pin, () => {})) === sha256) return true
      // It was written into, and keeps nothing any more.
      unlinkSync(rawToBytes(pin))
    }
    linkSync(rawToBytes(inRoot(place, path)), rawToBytes(pin))
    return true
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'EXDEV' || code === 'EMLINK' || code === 'EPERM' || code === 'ENOENT') return false
    throw error
  }
}

export interface Pin {
  readonly sha256: string
  /** The file that it was a second name of is gone: what it keeps takes room. */
  readonly isAlone: boolean
  readonly bytes: number
}

export function listPins(place: State): Pin[] {
  return statPins(place).map(({ sha256, status }) => ({
    sha256,
    isAlone: status.nlink === 1,
    bytes: status.size,
  }))
}

export function dropPins(place: State, pins: Iterable<string>): void {
  for (const sha256 of pins) {
    try {
      unlinkSync(rawToBytes(pinPath(place, sha256)))
    } catch (error) {
      if (systemErrorCode(error) !== 'ENOENT') throw error
    }
  }
}

export interface ComparedPins {
  readonly altered: readonly string[]
  /** How each was before its content was compared. */
  readonly notes: ReadonlyMap<string, string>
}

/** Those whose content is another one by now. Only what is not as it was noted is read, unless `all` is to be. */
export async function comparePins(place: State, { all = false } = {}): Promise<ComparedPins> {
  const noted = all ? new Map<string, string>() : readNotes(place)
  const altered: string[] = []
  const notes = new Map<string, string>()
  for (const { sha256, status } of statPins(place)) {
    notes.set(sha256, noteOf(status))
    if (noted.get(sha256) === noteOf(status)) continue
    if ((await hashFile(pinPath(place, sha256), () => {})) !== sha256) altered.push(sha256)
  }
  return { altered, notes }
}

/** Notes how pins are that were compared, or have just been made. One that was written into since it was noted is not taken for what it was. */
export async function notePins(
  place: State,
  compared: ReadonlyMap<string, string> = new Map(),
): Promise<void> {
  const noted = readNotes(place)
  const now = new Map(
    statPins(place).map(({ sha256, status }) => [
      sha256,
      compared.get(sha256) ?? noted.get(sha256) ?? noteOf(status),
    ]),
  )
  if (isDeepStrictEqual(now, noted)) return
  const lines = [...now].map(([sha256, note]) => `${sha256} ${note}\n`)
  await writeFileDurable(notesPath(place), lines.join(''), { mode: 0o600 })
}

/** A new time of change is no sign: each name that comes or goes is one. */
function noteOf({ ino, size, mtimeMs }: Stats): string {
  return `${ino} ${size} ${mtimeMs}`
}

function readNotes(place: State): Map<string, string> {
  try {
    const lines = readFileSync(notesPath(place), 'latin1').split('\n')
    return new Map(lines.filter((line) => line !== '').map((line) => [line.slice(0, 64), line.slice(65)]))
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT' || systemErrorCode(error) === 'ENOTDIR') return new Map()
    throw error
  }
}

function notesPath({ state }: State): RawPath {
  return pathIn(state, 'pins', 'notes')
}

function statPins(place: State): { readonly sha256: string; readonly status: Stats }[] {
  let names: string[]
  try {
    names = readdirSync(pathIn(place.state, 'pins'))
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return []
    throw error
  }
  return names
    .filter((name) => /^[0-9a-f]{64}$/.test(name))
    .flatMap((sha256) => {
      const status = lstatSync(rawToBytes(pinPath(place, sha256)), { throwIfNoEntry: false })
      return status ? [{ sha256, status }] : []
    })
}
