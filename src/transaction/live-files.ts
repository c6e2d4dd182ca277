// What is kept in the open folder while a change without a stage is under way, so that another process, or one after a crash, can end it.
import { copyFileSync, linkSync, mkdirSync, readFileSync, readlinkSync, symlinkSync } from 'node:fs'
import { dirname } from 'node:path'
import { systemErrorCode } from '../base/failure.ts'
import { writeFileDurable } from '../base/files.ts'
import { asRaw, rawFromBytes, rawToBytes, type RawText } from '../base/raw-text.ts'
import { parseRawPath, type RawPath, rootPath } from '../model/raw-path.ts'
import { encodeChanges, parseChanges } from '../model/transaction-record.ts'
import { typeOf } from '../stage/fingerprint.ts'
import type { LiveCapture } from '../stage/live-capture.ts'
import type { LiveKept } from '../stage/live-changes.ts'
import { entryOf, rowsBelow } from '../stage/root-index.ts'
import { decodeIndex, encodeIndex } from '../stage/root-index-file.ts'
import { readIfThere } from './open-stage.ts'
import { inRoot, openFolder, pathIn, type Workplace } from './workplace.ts'

export function liveFolder(place: Pick<Workplace, 'state'>): RawPath {
  return pathIn(openFolder(place), 'live')
}

export async function writeCapture(place: Workplace, capture: LiveCapture): Promise<void> {
  const folder = liveFolder(place)
  await writeFileDurable(pathIn(openFolder(place), 'index'), encodeIndex(capture.index))
  await writeFileDurable(pathIn(folder, 'attributes'), Buffer.concat([...encodeChanges(capture.attributes)]))
  await writeFileDurable(pathIn(folder, 'unread'), rawToBytes(asRaw(capture.unread.join('\0'))))
}

export function readCapture(place: Workplace): LiveCapture {
  const folder = liveFolder(place)
  const unread: string = rawFromBytes(readFileSync(pathIn(folder, 'unread')))
  return {
    index: decodeIndex(readFileSync(pathIn(openFolder(place), 'index'))),
    attributes: parseChanges(readFileSync(pathIn(folder, 'attributes'))),
    unread: unread.split('\0').flatMap((path) => parseRawPath(asRaw(path)) ?? []),
  }
}

/** Written last: without it nothing was begun yet. */
export async function markCaptured(place: Workplace): Promise<void> {
  await writeFileDurable(pathIn(liveFolder(place), 'ready'), '')
}

export function hasCaptured(place: Workplace): boolean {
  return readIfThere(pathIn(liveFolder(place), 'ready')) !== undefined
}

/** A folder in which the databases of packages lie as they were, for who reads them from a root. */
export function databaseBefore(place: Workplace): RawPath {
  return pathIn(liveFolder(place), 'before')
}

/** Through them names in the database lead to the files (merged /usr). */
const foldersAtTop: readonly string[] = ['bin', 'sbin', 'lib', 'lib32', 'lib64', 'libx32']

export function layOutDatabase(place: Workplace, { index }: LiveCapture, kept: LiveKept): void {
  const before = databaseBefore(place)
  mkdirSync(before, { mode: 0o700 })
  for (const database of place.packageSystems.flatMap(({ databases }) => databases)) {
    const [first, end] = rowsBelow(index, database)
    const rows = [...index.paths.slice(first, end), database]
    for (const path of rows) {
      const entry = entryOf(index, path)
      const from = entry && typeOf(entry.mode) === 'file' ? kept.at(path) : undefined
      if (from !== undefined) addFile(from, asRaw(before + path))
    }
  }
  for (const name of foldersAtTop) {
    const target = linkTargetOf(inRoot(place, pathIn(rootPath, name)))
    if (target !== undefined) symlinkSync(rawToBytes(target), rawToBytes(pathIn(before, name)))
  }
}

function addFile(from: RawText, to: RawText): void {
  try {
    mkdirSync(rawToBytes(asRaw(dirname(to))), { recursive: true, mode: 0o700 })
    linkSync(rawToBytes(from), rawToBytes(to))
  } catch (error) {
    const code = systemErrorCode(error)
    if (code !== 'EXDEV' && code !== 'EMLINK' && code !== 'EPERM') throw error
    copyFileSync(rawToBytes(from), rawToBytes(to))
  }
}

function linkTargetOf(path: RawText): RawText | undefined {
  try {
    return rawFromBytes(readlinkSync(rawToBytes(path), 'buffer'))
  } catch (error) {
    if (['EINVAL', 'ENOENT'].includes(systemErrorCode(error) ?? '')) return undefined
    throw error
  }
}
