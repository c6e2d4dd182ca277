// Files that are mounts themselves, as containers have /etc/hosts: no overlay can lie on one, so what is written there is written at once, and is no part of a transaction.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { asRaw, printable, type RawText, rawFromBytes, rawToBytes } from '../base/raw-text.ts'
import { parseRawPath, type RawPath } from '../model/raw-path.ts'
import type { NotKept } from '../model/transaction-record.ts'
import { outlineOf, sha256Of } from '../stage/fingerprint.ts'
import type { MountPlan } from '../stage/mount-plan.ts'
import { statusOfPath } from './path-status.ts'
import type { StageNote } from './stage-note.ts'
import { inRoot, openFolder, pathIn, type Workplace } from './workplace.ts'

/** Of a larger one size and time tell whether it was written: a disk image may be mounted so, too. */
const hashedBytesMax = 16 * 1024 * 1024

/** Writes down how they are before anything is run. Whoever runs a command is told of them. */
export async function noteMountedFiles(
  place: Workplace,
  { mounts }: MountPlan,
  source: StageNote['source'],
): Promise<void> {
  const states: string[] = []
  const paths: RawPath[] = []
  for (const { kind, path } of mounts) {
    const state = kind === 'through' ? await stateOf(place, path) : undefined
    if (state === undefined) continue
    states.push(`${state} ${path}\0`)
    paths.push(path)
  }
  if (paths.length === 0) return
  writeFileSync(noteOf(place), rawToBytes(asRaw(states.join(''))), { mode: 0o600, flag: 'wx' })
  if (source === 'command')
    place.reporter.warn({
      warning: `${listed(paths)}: mounted each by itself. What is written there is written at once, is no part of the transaction, and is not kept`,
    })
}

/** Those that were written since, by whomever. */
export async function mountedFilesWritten(place: Workplace): Promise<readonly NotKept[]> {
  const file = noteOf(place)
  if (!existsSync(file)) return []
  const written: NotKept[] = []
  for (const line of rawFromBytes(readFileSync(file)).split('\0').slice(0, -1)) {
    const path = parseRawPath(asRaw(line.slice(line.indexOf('/'))))
    if (path === undefined || `${await stateOf(place, path)} ${path}` === line) continue
    written.push({ path, reason: 'a file that is mounted by itself was written at once' })
  }
  return written
}

export async function tellMountedFiles(place: Workplace): Promise<void> {
  const written = await mountedFilesWritten(place)
  if (written.length === 0) return
  place.reporter.warn({
    warning: `Not kept: ${listed(written.map(({ path }) => path))} ${written.length === 1 ? 'was' : 'were'} written on the machine itself, being mounted each by itself. No undo takes that back`,
  })
}

/** Undefined where it is no file. */
async function stateOf(place: Workplace, path: RawPath): Promise<string | undefined> {
  const status = statusOfPath(place, path)
  if (status === undefined) return undefined
  const at = inRoot(place, path)
  const { type, mode, uid, gid, size = 0, mtimeNs } = outlineOf(place.libc, at, status)
  if (type !== 'file') return undefined
  const content = size > hashedBytesMax ? `${size} ${mtimeNs}` : await sha256Of(at, () => {})
  return `${mode} ${uid} ${gid} ${content}`
}

function listed(paths: readonly RawText[]): string {
  return paths.map((path) => `"${printable(path)}"`).join(', ')
}

function noteOf(place: Workplace): RawPath {
  return pathIn(openFolder(place), 'mounted-files')
}
