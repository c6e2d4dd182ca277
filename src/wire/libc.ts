// Calls of the C library that Node has no function for, through node:ffi: attributes, holes, times to the nanosecond.
import type * as ffiModule from 'node:ffi'
import { constants, closeSync, mkdtempSync, openSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { getSystemErrorName } from 'node:util'
import { type RawText, rawFromBytes, rawToBytes } from '../base/raw-text.ts'
import type { Xattr } from '../model/tree.ts'

/** A folder by its descriptor; `here` takes the path as it is. */
export type FolderHandle = number
/** AT_FDCWD of fcntl.h: with it a path must be absolute to mean one thing. */
export const here: FolderHandle = -100

/** A name in an open folder. */
export interface NameIn {
  readonly folder: FolderHandle
  readonly name: RawText
}

/** An open file, or a path of which the last part is not followed if it is a link. */
export type XattrPlace = number | RawText

export interface FileTimes {
  readonly mtimeNs: bigint
  /** Stays as it is without one. */
  readonly atimeNs?: bigint
}

/** What statx(2) tells of one path. */
export interface FileStatus {
  /** Type and permission bits, as `st_mode`. */
  readonly mode: number
  readonly links: number
  readonly uid: number
  readonly gid: number
  readonly inode: bigint
  readonly size: number
  readonly blocks: number
  readonly mtimeNs: bigint
  readonly ctimeNs: bigint
  /** In the form of `st_rdev`. */
  readonly device: bigint
  /** Of the file system that it lies on, in the form of `st_dev`. */
  readonly deviceId: bigint
  /** Of the mount that the path led to: rename and link never cross one, also where both show one file system. 0 before Linux 5.8. */
  readonly mountId: bigint
}

/** Means something on its own file system only. */
export interface FileHandle {
  readonly type: number
  readonly bytes: Buffer
}

/**
 * Names and paths are bytes, and the last part is never followed if it is a link. A call that fails throws an error
 * with `code` (`ENOENT`) and `syscall`, as those of node:fs. One thread, one binding: none of it may be handed on.
 */
export interface Libc {
  /** Empty also where the file system has no attributes. */
  listXattrs(place: XattrPlace): RawText[]
  /** Undefined when there is none of that name (any more). */
  getXattr(place: XattrPlace, name: RawText): Buffer | undefined
  /** All that can be read, in the order in which the file system has them. */
  readXattrs(place: XattrPlace): Xattr[]
  setXattr(place: XattrPlace, name: RawText, value: Uint8Array): void
  /** Nothing happens where there is none of that name. */
  removeXattr(place: XattrPlace, name: RawText): void
  /** Where data begins at or after `offset`; undefined when only a hole follows up to the end. */
  nextData(file: number, offset: number): number | undefined
  /** Where a hole begins at or after `offset`, which lies within the file; its end counts as one. */
  nextHole(file: number, offset: number): number
  /** The descriptor is not Node's: it ends with `close` of this binding. It is not passed on to programs. */
  openAt(folder: FolderHandle, name: RawText, flags: number, mode?: number): number
  /** `ELOOP` where any part of the absolute path is a link; `ENOSYS` before Linux 5.6 (openat2(2)). */
  openWithoutLinks(path: RawText, flags: number): number
  /** A file to write that has no name yet, and is gone when it is closed without one. Not every file system can do it. */
  openAnonymous(folder: FolderHandle, mode: number): number
  close(file: number): void
  statAt(folder: FolderHandle, name: RawText): FileStatus
  statOf(file: number): FileStatus
  /** What the file system calls the thing itself, whatever its names are (name_to_handle_at(2)). Undefined where it has no such handles. */
  fileHandle(place: RawText): FileHandle | undefined
  makeFolderAt(folder: FolderHandle, name: RawText, mode: number): void
  /** `mode` with the bits of the type; `device` in the form of `st_rdev`. */
  makeNodeAt(folder: FolderHandle, name: RawText, node: { mode: number; device: bigint }): void
  makeLinkAt(folder: FolderHandle, name: RawText, target: RawText): void
  linkAt(from: NameIn, to: NameIn): void
  /** Gives an open file without a name (`openAnonymous`) its first one; `EEXIST` where something stands there. */
  linkOpen(file: number, to: NameIn): void
  /** Replaces what stands there. */
  renameAt(from: NameIn, to: NameIn): void
  /** Both names change places in one call; `EINVAL` where the file system cannot do it. */
  exchangeAt(one: NameIn, other: NameIn): void
  /** `EEXIST` where something stands there; `EINVAL` where the file system cannot tell. */
  renameNewAt(from: NameIn, to: NameIn): void
  removeAt(folder: FolderHandle, name: RawText, what: 'file' | 'folder'): void
  chownAt(folder: FolderHandle, name: RawText, owner: { uid: number; gid: number }): void
  chownOf(file: number, owner: { uid: number; gid: number }): void
  chmodOf(file: number, mode: number): void
  setTimesAt(folder: FolderHandle, name: RawText, times: FileTimes): void
  setTimesOf(file: number, times: FileTimes): void
  /** All that was written to the file system of an open file or folder is durable when it returns (syncfs(2)). */
  syncDiskOf(file: number): void
}

/** fcntl.h: the same numbers on every architecture, and not among Node's constants. */
export const openPathOnly = 0o10000000
const openCloseOnExec = 0o2000000
const openTemporary = 0o20000000
const noFollow = 0x100
const follow = 0x400
const emptyPath = 0x1000
const removeFolder = 0x200
const [renameNew, renameExchange] = [1, 2]
/** openat2(2), which glibc has no function for; the same number on every architecture. */
const openat2Call = 437n
const resolveNoLinks = 0x04n
const seekData = 3
const seekHole = 4
/** STATX_BASIC_STATS, and the mount (STATX_MNT_ID). */
const statxBasic = 0x7ff | 0x1000
/** The kernel takes 4 KiB for a path and 255 bytes for a name; names of attributes and their values are below 64 KiB each (xattr(7)). */
const pathBytesMax = 4096
const xattrBytesMax = 64 * 1024
/** MAX_HANDLE_SZ of fcntl.h. */
const handleBytesMax = 128

/**
 * Undefined where this Node, this system or this C library does not have it: it is tried out on a file in
 * `temporaryFolder` before it is relied on. May be called in any thread.
 */
export function openLibc(temporaryFolder: string): Libc | undefined {
  if (process.platform !== 'linux' || !['x64', 'arm64'].includes(process.arch)) return undefined
  try {
    const libc = bind(loadFfi())
    return worksOn(libc, temporaryFolder) ? libc : undefined
  } catch {
    return undefined
  }
}

type Ffi = typeof ffiModule

/** Node says that it is an experiment each time it is loaded; that, and nothing else, is not passed on. */
export function loadFfi(): Ffi {
  const emit = process.emitWarning
  process.emitWarning = (warning: string | Error, ...rest: unknown[]) => {
    if (!String(warning).startsWith('FFI is an experimental feature'))
      Reflect.apply(emit, process, [warning, ...rest])
  }
  try {
    return process.getBuiltinModule('node:ffi')
  } finally {
    process.emitWarning = emit
  }
}

/** Sizes that never reach 2^31 come back as `i32`: no object is made between a call and the look at its `errno`. */
const signatures = {
  __errno_location: { arguments: [], return: 'pointer' },
  llistxattr: { arguments: ['buffer', 'buffer', 'u64'], return: 'i32' },
  flistxattr: { arguments: ['i32', 'buffer', 'u64'], return: 'i32' },
  lgetxattr: { arguments: ['buffer', 'buffer', 'buffer', 'u64'], return: 'i32' },
  fgetxattr: { arguments: ['i32', 'buffer', 'buffer', 'u64'], return: 'i32' },
  lsetxattr: { arguments: ['buffer', 'buffer', 'buffer', 'u64', 'i32'], return: 'i32' },
  fsetxattr: { arguments: ['i32', 'buffer', 'buffer', 'u64', 'i32'], return: 'i32' },
  lremovexattr: { arguments: ['buffer', 'buffer'], return: 'i32' },
  fremovexattr: { arguments: ['i32', 'buffer'], return: 'i32' },
  lseek: { arguments: ['i32', 'i64', 'i32'], return: 'i64' },
  openat: { arguments: ['i32', 'buffer', 'i32', 'u32'], return: 'i32' },
  close: { arguments: ['i32'], return: 'i32' },
  syscall: { arguments: ['i64', 'i32', 'buffer', 'buffer', 'u64'], return: 'i32' },
  statx: { arguments: ['i32', 'buffer', 'i32', 'u32', 'buffer'], return: 'i32' },
  name_to_handle_at: { arguments: ['i32', 'buffer', 'buffer', 'buffer', 'i32'], return: 'i32' },
  mkdirat: { arguments: ['i32', 'buffer', 'u32'], return: 'i32' },
  mknodat: { arguments: ['i32', 'buffer', 'u32', 'u64'], return: 'i32' },
  symlinkat: { arguments: ['buffer', 'i32', 'buffer'], return: 'i32' },
  linkat: { arguments: ['i32', 'buffer', 'i32', 'buffer', 'i32'], return: 'i32' },
  renameat: { arguments: ['i32', 'buffer', 'i32', 'buffer'], return: 'i32' },
  renameat2: { arguments: ['i32', 'buffer', 'i32', 'buffer', 'u32'], return: 'i32' },
  unlinkat: { arguments: ['i32', 'buffer', 'i32'], return: 'i32' },
  fchownat: { arguments: ['i32', 'buffer', 'u32', 'u32', 'i32'], return: 'i32' },
  fchown: { arguments: ['i32', 'u32', 'u32'], return: 'i32' },
  fchmod: { arguments: ['i32', 'u32'], return: 'i32' },
  utimensat: { arguments: ['i32', 'buffer', 'buffer', 'i32'], return: 'i32' },
  futimens: { arguments: ['i32', 'buffer'], return: 'i32' },
  syncfs: { arguments: ['i32'], return: 'i32' },
} as const

/** EAGAIN of errno(3). */
const tryAgain = 11
const againMax = 8

function bind(ffi: Ffi): Libc {
  // The library is never closed: its functions live as long as the thread.
  const { functions: c } = ffi.dlopen(null, signatures)
  const errnoAt = c.__errno_location()
  const first = Buffer.alloc(pathBytesMax)
  const second = Buffer.alloc(pathBytesMax)
  const value = Buffer.alloc(xattrBytesMax)
  const valueBytes = BigInt(xattrBytesMax)
  const status = Buffer.alloc(256)
  const times = Buffer.alloc(32)
  const handle = Buffer.alloc(8 + handleBytesMax)
  const mountId = Buffer.alloc(4)
  // `struct open_how`.
  const openHow = Buffer.alloc(24)
  const empty = Buffer.alloc(1)
  const noBytes = Buffer.alloc(1)

  const text = (into: Buffer, from: RawText, call: string): Buffer => {
    // A NUL would end the name early: then another one would be meant.
    if (from.length >= pathBytesMax || from.includes('\0'))
      throw systemError(from.length >= pathBytesMax ? 'ENAMETOOLONG' : 'EINVAL', call)
    into.write(from, 0, 'latin1')
    into[from.length] = 0
    return into
  }
  const path = (from: RawText, call: string) => text(first, from, call)
  const other = (from: RawText, call: string) => text(second, from, call)
  const errno = (): number => ffi.getInt32(errnoAt, 0)
  const failure = (call: string): Error => systemError(systemErrorOf(errno()), call)
  const done = (result: number, call: string): number => {
    if (result < 0) throw failure(call)
    return result
  }
  /** The length, or undefined when the failure is one of `expected`. */
  const lengthOr = (result: number, call: string, expected: readonly string[]): number | undefined => {
    if (result >= 0) return result
    const error = failure(call)
    if ('code' in error && expected.includes(String(error.code))) return undefined
    throw error
  }
  const fillTimes = ({ atimeNs, mtimeNs }: FileTimes): Buffer => {
    if (atimeNs === undefined) times.writeBigInt64LE(omitTime, 8)
    else writeTime(times, 0, atimeNs)
    writeTime(times, 16, mtimeNs)
    return times
  }
  const seek = (file: number, offset: number, whence: number): number | undefined => {
    const result = Number(c.lseek(file, BigInt(offset), whence))
    return lengthOr(result, 'lseek', ['ENXIO'])
  }
  const renameWith = (from: NameIn, to: NameIn, flags: number) => {
    const name = path(from.name, 'renameat2')
    done(c.renameat2(from.folder, name, to.folder, other(to.name, 'renameat2'), flags), 'renameat2')
  }
  const libc: Libc = {
    listXattrs(place) {
      const length =
        typeof place === 'number'
          ? c.flistxattr(place, value, valueBytes)
          : c.llistxattr(path(place, 'llistxattr'), value, valueBytes)
      const known = lengthOr(length, 'llistxattr', ['ENOTSUP', 'EOPNOTSUPP'])
      if (known === undefined || known === 0) return []
      return rawFromBytes(value.subarray(0, known - 1)).split('\0') as RawText[]
    },
    getXattr(place, name) {
      const key = other(name, 'lgetxattr')
      const length =
        typeof place === 'number'
          ? c.fgetxattr(place, key, value, valueBytes)
          : c.lgetxattr(path(place, 'lgetxattr'), key, value, valueBytes)
      const known = lengthOr(length, 'lgetxattr', ['ENODATA'])
      return known === undefined ? undefined : Buffer.from(value.subarray(0, known))
    },
    readXattrs: (place) =>
      libc.listXattrs(place).flatMap((name) => {
        const found = libc.getXattr(place, name)
        return found === undefined ? [] : [{ name, value: found }]
      }),
    setXattr(place, name, bytes) {
      const key = other(name, 'lsetxattr')
      const size = BigInt(bytes.length)
      const given = bytes.length === 0 ? noBytes : bytes
      if (typeof place === 'number') done(c.fsetxattr(place, key, given, size, 0), 'fsetxattr')
      else done(c.lsetxattr(path(place, 'lsetxattr'), key, given, size, 0), 'lsetxattr')
    },
    removeXattr(place, name) {
      const key = other(name, 'lremovexattr')
      const result =
        typeof place === 'number'
          ? c.fremovexattr(place, key)
          : c.lremovexattr(path(place, 'lremovexattr'), key)
      lengthOr(result, 'lremovexattr', ['ENODATA'])
    },
    nextData: (file, offset) => seek(file, offset, seekData),
    nextHole(file, offset) {
      const found = seek(file, offset, seekHole)
      if (found === undefined) throw systemError('ENXIO', 'lseek')
      return found
    },
    openAt: (folder, name, flags, mode = 0) =>
      done(c.openat(folder, path(name, 'openat'), flags | openCloseOnExec, mode), 'openat'),
    openWithoutLinks(name, flags) {
      openHow.writeBigUInt64LE(BigInt(flags | openCloseOnExec), 0)
      openHow.writeBigUInt64LE(resolveNoLinks, 16)
      const result = c.syscall(openat2Call, here, path(name, 'openat2'), openHow, BigInt(openHow.length))
      return done(result, 'openat2')
    },
    openAnonymous: (folder, mode) =>
      done(
        c.openat(
          folder,
          path('.' as RawText, 'openat'),
          constants.O_RDWR | constants.O_DIRECTORY | openTemporary | openCloseOnExec,
          mode,
        ),
        'openat',
      ),
    // Whatever it says, the descriptor is gone (close(2)).
    close: (file) => void c.close(file),
    statAt(folder, name) {
      const at = path(name, 'statx')
      // What the runtime does in another thread's wake may have written `errno` since (futex(2)); statx(2) itself never says that.
      let result: number
      for (let again = 0; ; again++) {
        result = c.statx(folder, at, noFollow, statxBasic, status)
        if (result >= 0 || errno() !== tryAgain || again === againMax) break
      }
      done(result, 'statx')
      return parseStatus(status)
    },
    statOf(file) {
      done(c.statx(file, empty, emptyPath, statxBasic, status), 'statx')
      return parseStatus(status)
    },
    fileHandle(place) {
      handle.writeUInt32LE(handleBytesMax, 0)
      const result = c.name_to_handle_at(here, path(place, 'name_to_handle_at'), handle, mountId, 0)
      const unknown = ['ENOTSUP', 'EOPNOTSUPP', 'EOVERFLOW']
      if (lengthOr(result, 'name_to_handle_at', unknown) === undefined) return undefined
      const length = Math.min(handle.readUInt32LE(0), handleBytesMax)
      return { type: handle.readInt32LE(4), bytes: Buffer.from(handle.subarray(8, 8 + length)) }
    },
    makeFolderAt: (folder, name, mode) =>
      void done(c.mkdirat(folder, path(name, 'mkdirat'), mode), 'mkdirat'),
    makeNodeAt: (folder, name, { mode, device }) =>
      void done(c.mknodat(folder, path(name, 'mknodat'), mode, device), 'mknodat'),
    makeLinkAt: (folder, name, target) =>
      void done(c.symlinkat(other(target, 'symlinkat'), folder, path(name, 'symlinkat')), 'symlinkat'),
    linkAt: (from, to) =>
      void done(
        c.linkat(from.folder, path(from.name, 'linkat'), to.folder, other(to.name, 'linkat'), 0),
        'linkat',
      ),
    linkOpen(file, to) {
      const name = other(to.name, 'linkat')
      if (c.linkat(file, empty, to.folder, name, emptyPath) === 0) return
      // Only root may name a file by its descriptor; everybody may through /proc (open(2), O_TMPFILE).
      const open = path(`/proc/self/fd/${file}` as RawText, 'linkat')
      done(c.linkat(here, open, to.folder, name, follow), 'linkat')
    },
    renameAt: (from, to) =>
      void done(
        c.renameat(from.folder, path(from.name, 'renameat'), to.folder, other(to.name, 'renameat')),
        'renameat',
      ),
    exchangeAt: (one, another) => renameWith(one, another, renameExchange),
    renameNewAt: (from, to) => renameWith(from, to, renameNew),
    removeAt: (folder, name, what) =>
      void done(c.unlinkat(folder, path(name, 'unlinkat'), what === 'folder' ? removeFolder : 0), 'unlinkat'),
    chownAt: (folder, name, { uid, gid }) =>
      void done(c.fchownat(folder, path(name, 'fchownat'), uid, gid, noFollow), 'fchownat'),
    chownOf: (file, { uid, gid }) => void done(c.fchown(file, uid, gid), 'fchown'),
    chmodOf: (file, mode) => void done(c.fchmod(file, mode), 'fchmod'),
    setTimesAt: (folder, name, given) =>
      void done(c.utimensat(folder, path(name, 'utimensat'), fillTimes(given), noFollow), 'utimensat'),
    setTimesOf: (file, given) => void done(c.futimens(file, fillTimes(given)), 'futimens'),
    syncDiskOf: (file) => void done(c.syncfs(file), 'syncfs'),
  }
  return libc
}

/** `ENOENT` for its number. */
export function systemErrorOf(errno: number): string {
  return getSystemErrorName(-errno)
}

function systemError(code: string, syscall: string): Error {
  return Object.assign(new Error(`${code}, ${syscall}`), { code, syscall })
}

const nsPerSecond = 1_000_000_000n
/** UTIME_OMIT of utimensat(2), in place of the nanoseconds. */
const omitTime = 0x3ffffffen

/** Two 64-bit words: `struct timespec` on the architectures that `openLibc` takes. Nanoseconds count upwards, also before 1970. */
function writeTime(into: Buffer, at: number, ns: bigint): void {
  const fraction = ((ns % nsPerSecond) + nsPerSecond) % nsPerSecond
  into.writeBigInt64LE((ns - fraction) / nsPerSecond, at)
  into.writeBigInt64LE(fraction, at + 8)
}

/** `struct statx` of linux/stat.h, the same on every architecture. */
function parseStatus(bytes: Buffer): FileStatus {
  const time = (at: number) => bytes.readBigInt64LE(at) * nsPerSecond + BigInt(bytes.readUInt32LE(at + 8))
  return {
    links: bytes.readUInt32LE(16),
    uid: bytes.readUInt32LE(20),
    gid: bytes.readUInt32LE(24),
    mode: bytes.readUInt16LE(28),
    inode: bytes.readBigUInt64LE(32),
    size: Number(bytes.readBigUInt64LE(40)),
    blocks: Number(bytes.readBigUInt64LE(48)),
    ctimeNs: time(96),
    mtimeNs: time(112),
    device: deviceNumber(bytes.readUInt32LE(128), bytes.readUInt32LE(132)),
    deviceId: deviceNumber(bytes.readUInt32LE(136), bytes.readUInt32LE(140)),
    mountId: bytes.readBigUInt64LE(144),
  }
}

/** makedev(3) of glibc. */
export function deviceNumber(majorNumber: number, minorNumber: number): bigint {
  const [high, low] = [BigInt(majorNumber), BigInt(minorNumber)]
  return (
    ((high & 0xfffff000n) << 32n) | ((high & 0xfffn) << 8n) | ((low & 0xffffff00n) << 12n) | (low & 0xffn)
  )
}

/** Answers that are known beforehand, from every kind of call: a library that disagrees on one is not used. */
function worksOn(libc: Libc, temporaryFolder: string): boolean {
  const folder = mkdtempSync(join(temporaryFolder, 'vml-libc-'))
  try {
    const name = rawFromBytes(Buffer.from('probe'))
    const file = rawFromBytes(Buffer.from(join(folder, 'probe')))
    const handle = libc.openAt(here, rawFromBytes(Buffer.from(folder)), constants.O_DIRECTORY)
    try {
      const opened = openSync(rawToBytes(file), 'wx', 0o600)
      closeSync(opened)
      libc.setTimesAt(handle, name, { atimeNs: 1n, mtimeNs: -1_500_000_001n })
      const { mtimeNs, mode, size } = libc.statAt(handle, name)
      if (mtimeNs !== -1_500_000_001n || mode !== 0o100600 || size !== 0) return false
      if (failureOf(() => libc.statAt(handle, rawFromBytes(Buffer.from('none')))) !== 'ENOENT') return false
      return libc.listXattrs(file).every((each) => each.includes('.'))
    } finally {
      libc.close(handle)
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function failureOf(call: () => unknown): string | undefined {
  try {
    call()
    return undefined
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : undefined
  }
}
