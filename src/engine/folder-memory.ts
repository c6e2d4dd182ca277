// What this computer remembers of an entry's folders, so that those in which nothing changed are neither read nor built again.
// A cache: without it, or with one that does not fit, everything is compared with the entry's trees.
import { hash } from 'node:crypto'
import type { TreeId } from '../model/ids.ts'
import type { RawPath } from '../model/raw-path.ts'

/** A folder as the entry has it. */
export interface RememberedFolder {
  /** Of everything directly in it (`folderFingerprint`), 32 hex digits; empty where some of it may change unseen. */
  readonly fingerprint: string
  readonly tree: TreeId
}

export interface FolderMemory {
  /** The root of the entry. */
  readonly tree: TreeId
  /** Index files of the logbook at that time: where one of them is gone, blobs may be, too. */
  readonly indexes: ReadonlySet<string>
  /** Of all files that may be programs; empty where it is not known. */
  readonly programs: string
  readonly folders: ReadonlyMap<RawPath, RememberedFolder>
}

/** Where it lies. A failure of either is no failure of a save. */
export interface FolderMemoryStore {
  read(): Promise<Buffer | undefined>
  write(bytes: Buffer): Promise<void>
}

const magic = 'vml folders 1\n'
const sumBytes = 32
const idBytes = 32
const fingerprintBytes = 16
/** More than entries of 2.5 million paths have folders. */
const foldersMax = 3_000_000
const indexesMax = 1_000_000

/** Numbers are 32 bits, little-endian; a SHA-256 of all before it ends the file. */
export function encodeFolderMemory({ tree, indexes, programs, folders }: FolderMemory): Buffer {
  let bytes = magic.length + idBytes + 4 + indexes.size * idBytes + idBytes + 4 + sumBytes
  for (const path of folders.keys()) bytes += 4 + path.length + fingerprintBytes + idBytes
  const memory = Buffer.alloc(bytes)
  let at = memory.write(magic, 'latin1')
  at += memory.write(tree, at, 'hex')
  at = memory.writeUInt32LE(indexes.size, at)
  for (const id of indexes) at += memory.write(id, at, 'hex')
  memory.write(programs, at, 'hex')
  at = memory.writeUInt32LE(folders.size, at + idBytes)
  for (const [path, folder] of folders) {
    at = memory.writeUInt32LE(path.length, at)
    at += memory.write(path, at, 'latin1')
    memory.write(folder.fingerprint, at, 'hex')
    at += fingerprintBytes
    at += memory.write(folder.tree, at, 'hex')
  }
  hash('sha256', memory.subarray(0, at), 'buffer').copy(memory, at)
  return memory
}

/** Undefined for anything but what `encodeFolderMemory` wrote, to the byte. */
export function decodeFolderMemory(memory: Buffer): FolderMemory | undefined {
  const end = memory.length - sumBytes
  if (end < magic.length || memory.toString('latin1', 0, magic.length) !== magic) return undefined
  if (!hash('sha256', memory.subarray(0, end), 'buffer').equals(memory.subarray(end))) return undefined
  let at = magic.length
  const hex = (bytes: number): string => memory.toString('hex', at, (at += bytes))
  const number = (max: number): number => {
    const value = memory.readUInt32LE(at)
    at += 4
    if (value > max) throw new RangeError('Too many')
    return value
  }
  try {
    const tree = hex(idBytes) as TreeId
    const indexes = new Set<string>()
    for (let left = number(indexesMax); left > 0; left--) indexes.add(hex(idBytes))
    const programs = hex(idBytes)
    const folders = new Map<RawPath, RememberedFolder>()
    for (let left = number(foldersMax); left > 0; left--) {
      const length = number(memory.length)
      const path = memory.toString('latin1', at, (at += length)) as RawPath
      const fingerprint = hex(fingerprintBytes)
      folders.set(path, {
        fingerprint: fingerprint === noFingerprint ? '' : fingerprint,
        tree: hex(idBytes) as TreeId,
      })
    }
    return at === end
      ? { tree, indexes, programs: programs === noPrograms ? '' : programs, folders }
      : undefined
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  }
}

const noFingerprint = '0'.repeat(2 * fingerprintBytes)
const noPrograms = '0'.repeat(2 * idBytes)
