// Lists a folder of this computer with the attributes of all that lies in it, through node:ffi: a call of the system for each path, and no object.
import { lstatSync, mkdtempSync, constants, closeSync, openSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { type RawText, rawFromBytes } from '../base/raw-text.ts'
import type { NodeType } from '../model/tree.ts'
import { deviceNumber, loadFfi, systemErrorOf } from './libc.ts'

/** One path of a folder. One object serves all of them: what is to be kept is copied before the next one comes. */
export interface ListedPath {
  /** The name: bytes of `names` from `nameStart` to `nameEnd`. */
  names: Buffer
  nameStart: number
  nameEnd: number
  type: NodeType
  /** Permission bits. */
  mode: number
  uid: number
  gid: number
  links: number
  /** Bytes; of what is no file, it means nothing. */
  size: number
  mtimeSeconds: number
  mtimeNanoseconds: number
  ctimeSeconds: number
  ctimeNanoseconds: number
  /** The upper and the lower half of 64 bits. */
  inodeHigh: number
  inodeLow: number
  deviceId: bigint
  linkTarget: RawText | undefined
}

/** To be filled for one path after the other. */
export function blankPath(names: Buffer): ListedPath {
  return {
    names,
    nameStart: 0,
    nameEnd: 0,
    type: 'file',
    mode: 0,
    uid: 0,
    gid: 0,
    links: 0,
    size: 0,
    mtimeSeconds: 0,
    mtimeNanoseconds: 0,
    ctimeSeconds: 0,
    ctimeNanoseconds: 0,
    inodeHigh: 0,
    inodeLow: 0,
    deviceId: 0n,
    linkTarget: undefined,
  }
}

export interface FolderReader {
  /**
   * Calls `found` for each path, in the order of the file system, without `.` and `..`, and `failed` where one cannot be looked at.
   * Throws an error with `code` where the folder cannot be read to its end.
   */
  list(folder: number, to: { found(path: ListedPath): void; failed(name: RawText, code: string): void }): void
}

/** S_IFMT of stat(2), without its last twelve bits. */
const types: readonly NodeType[] = Array.from({ length: 16 }, (_, kind): NodeType => {
  switch (kind) {
    case 0o01:
      return 'fifo'
    case 0o02:
      return 'chardev'
    case 0o04:
      return 'dir'
    case 0o06:
      return 'dev'
    case 0o10:
      return 'file'
    case 0o12:
      return 'symlink'
    case 0o14:
      return 'socket'
    default:
      return 'irregular'
  }
})

const noFollow = 0x100
/** A look must mount nothing: what stat(2) promises, statx(2) has to be told. */
const noAutomount = 0x800
const statxBasic = 0x7ff
/** What glibc takes for a folder, twice. */
const namesBytes = 64 * 1024
/** PATH_MAX: a longer target cannot be made. */
const targetBytesMax = 4096
const two32 = 2 ** 32

const signatures = {
  __errno_location: { arguments: [], return: 'pointer' },
  getdents64: { arguments: ['i32', 'pointer', 'u64'], return: 'i32' },
  statx: { arguments: ['i32', 'pointer', 'i32', 'u32', 'pointer'], return: 'i32' },
  readlinkat: { arguments: ['i32', 'pointer', 'pointer', 'u64'], return: 'i32' },
} as const

/** Undefined where this Node, system or C library does not have it: it is tried out in `temporaryFolder` before it is relied on. */
export function openFolderReader(temporaryFolder: string): FolderReader | undefined {
  if (process.platform !== 'linux' || !['x64', 'arm64'].includes(process.arch)) return undefined
  try {
    const reader = bind()
    return worksIn(reader, temporaryFolder) ? reader : undefined
  } catch {
    return undefined
  }
}

function bind(): FolderReader {
  const ffi = loadFfi()
  const { functions: c } = ffi.dlopen(null, signatures)
  const errnoAt = c.__errno_location()
  // Memory outside of V8's heap, which stays where it is: addresses in it are passed to the system.
  const names = Buffer.alloc(namesBytes)
  const namesAt = ffi.getRawPointer(names)
  const status = new DataView(new ArrayBuffer(256))
  const statusAt = ffi.getRawPointer(status)
  const target = Buffer.alloc(targetBytesMax)
  const targetAt = ffi.getRawPointer(target)
  const code = (): string => systemErrorOf(ffi.getInt32(errnoAt, 0))
  let deviceMajor = -1
  let deviceMinor = -1
  const path = blankPath(names)
  /** `struct statx` of linux/stat.h, the same on every architecture. */
  const take = (): void => {
    const mode = status.getUint16(28, true)
    path.links = status.getUint32(16, true)
    path.uid = status.getUint32(20, true)
    path.gid = status.getUint32(24, true)
    path.mode = mode & 0o7777
    path.type = types[mode >>> 12] ?? 'irregular'
    path.inodeLow = status.getUint32(32, true)
    path.inodeHigh = status.getUint32(36, true)
    path.size = status.getUint32(40, true) + status.getUint32(44, true) * two32
    path.ctimeSeconds = status.getUint32(96, true) + status.getInt32(100, true) * two32
    path.ctimeNanoseconds = status.getUint32(104, true)
    path.mtimeSeconds = status.getUint32(112, true) + status.getInt32(116, true) * two32
    path.mtimeNanoseconds = status.getUint32(120, true)
    const majorNumber = status.getUint32(136, true)
    const minorNumber = status.getUint32(140, true)
    if (majorNumber === deviceMajor && minorNumber === deviceMinor) return
    deviceMajor = majorNumber
    deviceMinor = minorNumber
    path.deviceId = deviceNumber(majorNumber, minorNumber)
  }
  return {
    list(folder, { found, failed }) {
      for (;;) {
        const used = c.getdents64(folder, namesAt, BigInt(namesBytes))
        if (used < 0) throw Object.assign(new Error(`${code()}, getdents64`), { code: code() })
        if (used === 0) return
        // `struct linux_dirent64`: inode, offset, the length of the record, type, the name and a NUL.
        for (let at = 0; at < used; at += names.readUInt16LE(at + 16)) {
          const start = at + 19
          const end = names.indexOf(0, start)
          if (isSelfOrParent(names, start, end - start)) continue
          const name = namesAt + BigInt(start)
          let problem =
            c.statx(folder, name, noFollow | noAutomount, statxBasic, statusAt) < 0 ? code() : undefined
          if (problem === undefined) {
            take()
            path.linkTarget = undefined
            if (path.type === 'symlink') {
              const length = c.readlinkat(folder, name, targetAt, BigInt(targetBytesMax))
              if (length < 0) problem = code()
              else path.linkTarget = rawFromBytes(target.subarray(0, length))
            }
          }
          if (problem !== undefined) {
            failed(rawFromBytes(names.subarray(start, end)), problem)
            continue
          }
          path.nameStart = start
          path.nameEnd = end
          found(path)
        }
      }
    },
  }
}

const dot = 0x2e

function isSelfOrParent(names: Buffer, start: number, length: number): boolean {
  if (names[start] !== dot || length > 2) return false
  return length === 1 || names[start + 1] === dot
}

/** Against what Node itself tells, on a folder with a file and a link. */
function worksIn(reader: FolderReader, temporaryFolder: string): boolean {
  const folder = mkdtempSync(join(temporaryFolder, 'vml-folder-'))
  try {
    closeSync(openSync(join(folder, 'file'), 'wx', 0o640))
    symlinkSync('/nowhere', join(folder, 'link'))
    const opened = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY)
    let right = 0
    try {
      reader.list(opened, {
        found(path) {
          const name = path.names.toString('latin1', path.nameStart, path.nameEnd)
          if ((name === 'file' || name === 'link') && isRight(path, join(folder, name))) right++
          else right = Number.NaN
        },
        failed: () => {
          right = Number.NaN
        },
      })
    } finally {
      closeSync(opened)
    }
    return right === 2
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function isRight(path: ListedPath, name: string): boolean {
  const stat = lstatSync(name, { bigint: true })
  const time = (seconds: number, nanoseconds: number) =>
    BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds)
  return (
    path.type === (stat.isFile() ? 'file' : 'symlink') &&
    path.linkTarget === (stat.isFile() ? undefined : '/nowhere') &&
    path.mode === Number(stat.mode & 0o7777n) &&
    path.uid === Number(stat.uid) &&
    path.gid === Number(stat.gid) &&
    path.links === Number(stat.nlink) &&
    path.size === Number(stat.size) &&
    time(path.mtimeSeconds, path.mtimeNanoseconds) === stat.mtimeNs &&
    time(path.ctimeSeconds, path.ctimeNanoseconds) === stat.ctimeNs &&
    BigInt(path.inodeHigh) * BigInt(two32) + BigInt(path.inodeLow) === stat.ino &&
    path.deviceId === stat.dev
  )
}
