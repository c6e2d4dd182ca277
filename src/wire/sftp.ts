// What can be asked of an sftp server: files and folders by their paths (draft-ietf-secsh-filexfer-02, section 6).
import { isFailure } from '../base/failure.ts'
import {
  type Attributes,
  hasStatus,
  malformed,
  openFlag,
  packetType,
  readAttributes,
  status,
} from './sftp-packets.ts'
import { openSftpSession, type SftpRequest, type SftpSession } from './sftp-session.ts'

/** Names an open file of the server. */
export type SftpHandle = Buffer

export interface SftpName extends Attributes {
  readonly name: string
}

/**
 * Every call fails with `not-found`, `remote.denied`, `unsupported` or `failed` as the server says, and with
 * `unavailable.*` when the connection is gone: then nothing is known of what was asked.
 */
export interface Sftp extends AsyncDisposable {
  /** False when the connection has ended: open another one. */
  readonly isUp: boolean
  /** The most bytes of one `read` and one `write`. */
  readonly readBytesMax: number
  readonly writeBytesMax: number
  /** Whether `link` is there. */
  readonly links: boolean
  /** To read; a folder too, where the server lets it be opened. */
  open(path: string): Promise<SftpHandle>
  /** A file that was not there, for its owner alone. */
  createNew(path: string): Promise<SftpHandle>
  close(handle: SftpHandle): Promise<void>
  /** As much as there is, up to `length`; undefined at the end. A view: copy what is kept. */
  read(handle: SftpHandle, offset: number, length: number): Promise<Buffer | undefined>
  /** `bytes` must not change before it returns. */
  write(handle: SftpHandle, offset: number, bytes: Uint8Array): Promise<void>
  /** Undefined where the server does not tell. */
  size(handle: SftpHandle): Promise<number | undefined>
  /** Makes it durable; false where the server does not offer that. */
  sync(handle: SftpHandle): Promise<boolean>
  /** Undefined when nothing is there. A link is looked at itself unless it is to be followed. */
  look(path: string, options?: { readonly follow?: boolean }): Promise<Attributes | undefined>
  /** Names in parts as they come, without `.` and `..`. */
  list(path: string): AsyncIterable<readonly SftpName[]>
  /** A second name for a file; fails where that is there. */
  link(from: string, to: string): Promise<void>
  /** The draft says that it fails where the new name is there; some servers replace what is there. */
  rename(from: string, to: string): Promise<void>
  remove(path: string): Promise<void>
  /** For its owner alone. */
  makeFolder(path: string): Promise<void>
  /** Bytes that can still be written there; undefined where the server does not tell. */
  freeBytes(path: string): Promise<number | undefined>
}

/** What every server must take (draft, section 3): 32 KiB of data in a packet of 34,000 bytes. */
const dataBytesDefault = 32 * 1024
/** On a slow line an answer must come before patience ends. */
const writeBytesMost = 64 * 1024
const readBytesMost = 128 * 1024
/** Longer handles are against the draft, section 6.3. */
const handleBytesMax = 256
/** In one folder: as many packs in each of the 256 of a repository are 4 PiB. */
const namesMax = 1_000_000

/** Attributes of which only the mode follows (draft, section 5). */
const attributesWithMode = 4

const extension = {
  sync: 'fsync@openssh.com',
  link: 'hardlink@openssh.com',
  limits: 'limits@openssh.com',
  space: 'statvfs@openssh.com',
}

export async function openSftp(request: SftpRequest): Promise<Sftp> {
  const session = await openSftpSession(request)
  try {
    return speak(session, await readLimits(session))
  } catch (error) {
    await session[Symbol.asyncDispose]()
    throw error
  }
}

interface Limits {
  readonly read: number
  readonly write: number
}

/** A limit of 0 is none (OpenSSH, PROTOCOL, 4.8). */
async function readLimits(session: SftpSession): Promise<Limits> {
  if (!session.extensions.has(extension.limits)) return { read: dataBytesDefault, write: dataBytesDefault }
  const reader = await session.ask(packetType.extended, [extension.limits], packetType.extendedReply)
  reader.u64()
  const read = reader.u64() || readBytesMost
  const write = reader.u64() || writeBytesMost
  return { read: Math.min(read, readBytesMost), write: Math.min(write, writeBytesMost) }
}

function speak(session: SftpSession, limits: Limits): Sftp {
  const { extensions } = session
  const handleOf = async (type: number, fields: readonly (string | number)[]): Promise<SftpHandle> => {
    const handle = (await session.ask(type, fields, packetType.handle)).text()
    if (handle.length > handleBytesMax) throw malformed('the name of an open file is too long')
    return Buffer.from(handle)
  }
  const close = async (handle: SftpHandle) => await session.tell(packetType.close, [handle])
  return {
    get isUp() {
      return session.isUp
    },
    readBytesMax: limits.read,
    writeBytesMax: limits.write,
    links: extensions.has(extension.link),
    open: async (path) => await handleOf(packetType.open, [path, openFlag.read, 0]),
    createNew: async (path) =>
      await handleOf(packetType.open, [
        path,
        openFlag.write | openFlag.create | openFlag.exclusive,
        attributesWithMode,
        0o600,
      ]),
    close,
    async read(handle, offset, length) {
      const wanted = Math.min(length, limits.read)
      try {
        const fields = [handle, BigInt(offset), wanted]
        const data = (await session.ask(packetType.read, fields, packetType.data)).text()
        if (data.length > wanted) throw malformed('it sends more than was asked for')
        if (data.length === 0) throw malformed('it sends nothing where the end has its own answer')
        return data
      } catch (error) {
        if (hasStatus(error, status.eof)) return undefined
        throw error
      }
    },
    write: async (handle, offset, bytes) =>
      // The length of the data is the last field; the data itself follows.
      await session.tell(packetType.write, [handle, BigInt(offset), bytes.length], bytes),
    async size(handle) {
      return readAttributes(await session.ask(packetType.fstat, [handle], packetType.attributes)).size
    },
    async sync(handle) {
      if (!extensions.has(extension.sync)) return false
      await session.tell(packetType.extended, [extension.sync, handle])
      return true
    },
    async look(path, { follow = false } = {}) {
      try {
        const type = follow ? packetType.stat : packetType.lstat
        return readAttributes(await session.ask(type, [path], packetType.attributes))
      } catch (error) {
        if (isFailure(error, 'not-found')) return undefined
        throw error
      }
    },
    async *list(path) {
      const handle = await handleOf(packetType.opendir, [path])
      try {
        for (let names = 0; ;) {
          const part = await readNames(session, handle)
          if (!part) return
          names += part.length
          if (names > namesMax) throw malformed('a folder has too many names')
          yield part.filter(({ name }) => name !== '.' && name !== '..')
        }
      } finally {
        void close(handle).catch(() => {})
      }
    },
    link: async (from, to) => await session.tell(packetType.extended, [extension.link, from, to]),
    rename: async (from, to) => await session.tell(packetType.rename, [from, to]),
    remove: async (path) => await session.tell(packetType.remove, [path]),
    makeFolder: async (path) => await session.tell(packetType.mkdir, [path, attributesWithMode, 0o700]),
    async freeBytes(path) {
      if (!extensions.has(extension.space)) return undefined
      const fields = [extension.space, path]
      const reader = await session.ask(packetType.extended, fields, packetType.extendedReply)
      // OpenSSH, PROTOCOL, 4.4: block size, fragment size, blocks, free ones, free ones for this user.
      reader.u64()
      const fragment = reader.u64()
      reader.u64()
      reader.u64()
      return fragment * reader.u64()
    },
    [Symbol.asyncDispose]: async () => await session[Symbol.asyncDispose](),
  }
}

/** Undefined at the end. */
async function readNames(session: SftpSession, handle: SftpHandle): Promise<SftpName[] | undefined> {
  try {
    const reader = await session.ask(packetType.readdir, [handle], packetType.name)
    const names: SftpName[] = []
    for (let left = reader.u32(); left > 0; left--) {
      const name = reader.text().toString('latin1')
      // What `ls -l` would print of it.
      reader.text()
      names.push({ name, ...readAttributes(reader) })
    }
    if (names.length === 0) throw malformed('it lists nothing where the end has its own answer')
    return names
  } catch (error) {
    if (hasStatus(error, status.eof)) return undefined
    throw error
  }
}
