// Programs that have a file open for writing which a commit has replaced: what they write from then on is in no path of the machine.
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { asRaw, rawFromBytes, rawFromString, type RawText } from '../base/raw-text.ts'
import { baseName, type RawPath } from '../model/raw-path.ts'
import type { CommitDisk } from './commit-disk.ts'
import type { Journal } from './journal.ts'

export interface OpenWriter {
  readonly path: RawPath
  readonly processId: number
  /** As the kernel cuts it: 15 bytes. */
  readonly program: RawText
}

export interface WriterSearch {
  /** Whether somebody may write into it: not the files of packages, which programs only read. */
  isAsked(path: RawPath): boolean
  /** It is only a warning: a machine with very many open files is not looked through. */
  mayGoOn(): boolean
}

/** After the commit: what was replaced is known by what is kept of it. As root sees them; of others nothing is told. */
export function findOpenWriters(
  disk: Pick<CommitDisk, 'look'>,
  { steps }: Pick<Journal, 'steps'>,
  { isAsked, mayGoOn }: WriterSearch,
): OpenWriter[] {
  const replaced = new Map<string, RawPath>()
  for (const step of steps) {
    if (step.kind !== 'replace' || !isAsked(step.path)) continue
    const old = disk.look(step.kept)
    if (old) replaced.set(`${old.deviceId}:${old.inode}`, step.path)
  }
  if (replaced.size === 0) return []
  const names = new Set<string>([...replaced.values()].map((path) => baseName(path)))
  const found: OpenWriter[] = []
  for (const id of namesIn('/proc')) {
    if (!/^\d+$/.test(id)) continue
    const paths = new Set<RawPath>()
    for (const file of namesIn(`/proc/${id}/fd`)) {
      if (!mayGoOn()) return found
      const opened = `/proc/${id}/fd/${file}`
      // A look at a file of a server that does not answer would never end: only at what has the name.
      const path = names.has(nameOf(opened)) ? replaced.get(thingOf(opened) ?? '') : undefined
      if (path !== undefined && isForWriting(`/proc/${id}/fdinfo/${file}`)) paths.add(path)
    }
    for (const path of paths) found.push({ path, processId: Number(id), program: programOf(id) })
  }
  return found
}

/** As it was opened; the kernel says so where it has the name no more (proc(5)). */
function nameOf(opened: string): string {
  const path = whileThere(() => rawFromBytes(readlinkSync(opened, { encoding: 'buffer' }))) ?? ''
  return path.slice(path.lastIndexOf('/') + 1).replace(/ \(deleted\)$/, '')
}

function thingOf(opened: string): string | undefined {
  return whileThere(() => {
    const { dev, ino } = statSync(opened, { bigint: true })
    return `${dev}:${ino}`
  })
}

/** The flags of open(2), in octal (proc(5)). */
function isForWriting(info: string): boolean {
  const flags = whileThere(() => /^flags:\s*([0-7]+)$/m.exec(readFileSync(info, 'latin1'))?.[1])
  return flags !== undefined && (Number.parseInt(flags, 8) & accessBits) !== 0
}

const accessBits = 0o3

function programOf(id: string): RawText {
  return whileThere(() => asRaw(readFileSync(`/proc/${id}/comm`, 'latin1').trimEnd())) ?? rawFromString('?')
}

function namesIn(folder: string): string[] {
  return whileThere(() => readdirSync(folder)) ?? []
}

/** Processes end, and files are closed, at any time. */
function whileThere<Result>(look: () => Result): Result | undefined {
  try {
    return look()
  } catch {
    return undefined
  }
}
