// A disk that goes wrong at a call that a test chooses: the calls of this process on the files that a local backend stages.
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { dirname } from 'node:path'
import type { Backend } from '../src/backend/backend.ts'

export const diskFaults = [
  /** An error, and no effect. */
  'fails-before',
  /** It takes effect, and an error is told. */
  'fails-after',
  'no-space',
  /** Every write to the file fails, in whatever thread: the device is full. */
  'full',
  /** Half of the bytes, as a system call may: the rest has to be asked for. */
  'short',
  /** Half of the bytes, and it says that it wrote all. */
  'lying',
  /** One bit is another one than was given. */
  'wrong',
  /** A bit of what was written before turns. */
  'rot',
  /** The last byte of what was written before is gone. */
  'cut',
  /** There is a byte more. */
  'grown',
  /** Somebody takes the name for a leftover, and removes it. */
  'swept',
  'no-links',
  /** From here on every call on such a file fails. */
  'gone',
] as const
export type DiskFault = (typeof diskFaults)[number]

export type DiskOperation =
  | 'open'
  | 'write'
  | 'fstat'
  | 'lstat'
  | 'fdatasync'
  | 'link'
  | 'syncFolder'
  | 'unlink'
  | 'close'

const everywhere: readonly DiskOperation[] = [
  'open',
  'write',
  'fstat',
  'lstat',
  'fdatasync',
  'link',
  'syncFolder',
  'unlink',
  'close',
]
const meets: Readonly<Record<DiskFault, readonly DiskOperation[]>> = {
  'fails-before': everywhere,
  'fails-after': everywhere,
  'no-space': ['open', 'write', 'fdatasync', 'link', 'syncFolder'],
  full: ['open'],
  short: ['write'],
  lying: ['write'],
  wrong: ['write'],
  rot: ['fstat', 'fdatasync'],
  cut: ['fstat', 'fdatasync'],
  grown: ['fstat', 'fdatasync'],
  swept: ['lstat', 'link'],
  'no-links': ['link'],
  gone: everywhere,
}

export interface DiskCall {
  readonly operation: DiskOperation
  /** The how-manieth of its operation, from 1. */
  readonly nth: number
}

export interface FaultyDisk {
  readonly openLocal: (root: string) => Backend
  /** From here on; returns the calls, which grow. `undefined` ends the faults. */
  watch(faultAt: ((call: DiskCall) => DiskFault | undefined) | undefined): readonly DiskCall[]
}

/** What a fault does to content that a call said was written: no program can know before it reads it back. */
export function isUntrue(fault: DiskFault, { operation }: DiskCall): boolean {
  if (fault === 'lying' || fault === 'wrong' || fault === 'rot') return true
  return operation === 'fdatasync' && (fault === 'cut' || fault === 'grown')
}

export function canMeetDisk(fault: DiskFault, { operation }: DiskCall): boolean {
  return meets[fault].includes(operation)
}

type Back = (error: Error | null, result?: unknown) => void

let opened: Promise<FaultyDisk> | undefined

/** Takes the place of the calls for the rest of the process: before anything loads the local backend, which keeps some of them. */
export async function openFaultyDisk(): Promise<FaultyDisk> {
  opened ??= replaceCalls()
  return await opened
}

async function replaceCalls(): Promise<FaultyDisk> {
  const real = { ...fs }
  const realPromises = { ...fs.promises }
  const paths = new Set<string>()
  const descriptors = new Map<number, string>()
  /** Folders that a staged file was linked in, and that are not durable yet. */
  const linkedIn: string[] = []
  let faultAt: ((call: DiskCall) => DiskFault | undefined) | undefined
  let calls: DiskCall[] = []
  let gone = false

  const begin = (operation: DiskOperation): DiskFault | undefined => {
    if (!faultAt) return undefined
    const nth = calls.filter((call) => call.operation === operation).length + 1
    const call = { operation, nth }
    calls.push(call)
    const fault = faultAt(call)
    if (fault === 'gone') gone = true
    if (gone || fault === 'fails-before') throw systemError('EIO', operation)
    if (fault === 'no-space') throw systemError('ENOSPC', operation)
    if (fault === 'no-links') throw systemError('EPERM', operation)
    return fault
  }
  const end = (operation: DiskOperation, fault: DiskFault | undefined) => {
    if (fault === 'fails-after') throw systemError('EIO', operation)
  }
  const spoil = (fault: DiskFault | undefined, descriptor: number) => {
    const { size } = real.fstatSync(descriptor)
    if (fault === 'cut') real.ftruncateSync(descriptor, size - 1)
    if (fault === 'grown') real.writeSync(descriptor, Buffer.from('x'), 0, 1, size)
    if (fault !== 'rot') return
    const byte = Buffer.alloc(1)
    real.readSync(descriptor, byte, 0, 1, Math.floor(size / 3))
    real.writeSync(descriptor, turned(byte), 0, 1, Math.floor(size / 3))
  }
  /** With a callback, of a descriptor. */
  const called =
    (operation: DiskOperation, call: (descriptor: number, back: Back) => void) =>
    (descriptor: number, back: Back) => {
      if (!descriptors.has(descriptor)) return call(descriptor, back)
      try {
        const fault = begin(operation)
        spoil(fault, descriptor)
        call(descriptor, (error, result) => {
          if (fault === 'fails-after') back(systemError('EIO', operation))
          else back(error, result)
        })
      } catch (error) {
        back(error instanceof Error ? error : new Error(String(error)))
      }
      return undefined
    }
  /** With a promise, of a path. */
  const promised =
    <Rest extends readonly unknown[]>(
      operation: DiskOperation,
      call: (path: string, ...rest: Rest) => Promise<unknown>,
    ) =>
    async (path: string, ...rest: Rest) => {
      if (!paths.has(path)) return await call(path, ...rest)
      const fault = begin(operation)
      if (fault === 'swept') real.unlinkSync(path)
      if (operation === 'link') linkedIn.push(dirname(String(rest[0])))
      const result = await call(path, ...rest)
      end(operation, fault)
      return result
    }
  Object.assign(fs, {
    openSync(path: string, flags: string, mode?: number) {
      if (flags !== 'wx+') return real.openSync(path, flags, mode)
      const fault = begin('open')
      const descriptor =
        fault === 'full' ? real.openSync('/dev/full', 'r+') : real.openSync(path, flags, mode)
      if (fault === 'fails-after') real.closeSync(descriptor)
      end('open', fault)
      paths.add(path)
      descriptors.set(descriptor, path)
      return descriptor
    },
    writeSync(descriptor: number, bytes: Uint8Array, at: number, length: number, position: number) {
      if (!descriptors.has(descriptor)) return real.writeSync(descriptor, bytes, at, length, position)
      const fault = begin('write')
      const half = fault === 'short' || fault === 'lying'
      const given = bytes.subarray(at, at + (half ? Math.ceil(length / 2) : length))
      const written = real.writeSync(descriptor, given, 0, given.length, position)
      if (fault === 'wrong') real.writeSync(descriptor, turned(given.subarray(0, 1)), 0, 1, position)
      end('write', fault)
      return fault === 'lying' ? length : written
    },
    closeSync(descriptor: number) {
      if (!descriptors.delete(descriptor)) return real.closeSync(descriptor)
      // A close that fails has closed all the same (close(2)).
      try {
        end('close', begin('close'))
      } finally {
        real.closeSync(descriptor)
      }
      return undefined
    },
    unlinkSync(path: string) {
      const fault = paths.has(path) ? begin('unlink') : undefined
      real.unlinkSync(path)
      end('unlink', fault)
    },
    fstat: called('fstat', real.fstat),
    fdatasync: called('fdatasync', real.fdatasync),
  })
  Object.assign(fs.promises, {
    lstat: promised('lstat', realPromises.lstat),
    link: promised('link', realPromises.link),
    unlink: promised('unlink', realPromises.unlink),
    async open(path: string, ...rest: [flags: string, mode?: number]) {
      const handle = await realPromises.open(path, ...rest)
      const at = linkedIn.indexOf(path)
      if (at < 0) return handle
      linkedIn.splice(at, 1)
      const sync = handle.sync.bind(handle)
      return Object.assign(handle, {
        async sync() {
          const fault = begin('syncFolder')
          await sync()
          end('syncFolder', fault)
        },
      })
    },
  })
  syncBuiltinESMExports()
  const { openLocal } = await import('../src/backend/local.ts')
  return {
    openLocal,
    watch(next) {
      faultAt = next
      calls = []
      gone = false
      linkedIn.length = 0
      paths.clear()
      return calls
    },
  }
}

function turned(byte: Uint8Array): Uint8Array {
  return Uint8Array.of((byte[0] ?? 0) ^ 1)
}

function systemError(code: string, operation: DiskOperation): Error {
  return Object.assign(new Error(`${code}: at ${operation} of a disk that goes wrong`), { code })
}
