// A repository in memory, for tests and for what is thrown away at the end of a process.
import { VmlError } from '../base/failure.ts'
import type { Backend, FileRef } from './backend.ts'

export interface MemoryOptions {
  /** Files by `kind/name`; shared by every backend that is opened on it, as a folder would be. */
  readonly files?: Map<string, Buffer>
  readonly readOnly?: boolean
}

export function openMemory({ files = new Map(), readOnly = false }: MemoryOptions = {}): Backend {
  const refuseWrite = () => {
    if (readOnly) throw new VmlError('unsupported', 'Cannot write to memory: it was opened to read')
  }
  return {
    location: 'memory',
    traits: { connections: 4, readOnly, parity: true },
    async create({ signal } = {}) {
      signal?.throwIfAborted()
      refuseWrite()
      if (files.has('config/')) throw new VmlError('exists', 'Cannot make a logbook in memory: one is there')
    },
    async put(file, data, { signal } = {}) {
      signal?.throwIfAborted()
      refuseWrite()
      const present = files.get(key(file))
      if (present?.equals(data)) return
      if (present) throw new VmlError('exists', `Cannot write "${key(file)}": other content is there`)
      files.set(key(file), Buffer.from(data))
    },
    async get(file, range, { signal } = {}) {
      signal?.throwIfAborted()
      const data = files.get(key(file))
      if (!data) throw new VmlError('not-found', `Cannot read "${key(file)}": no such file`)
      const { offset, length } = range ?? { offset: 0, length: data.length }
      if (offset + length > data.length) {
        throw new VmlError(
          'integrity.truncated',
          `Cannot read "${key(file)}" up to byte ${offset + length}: it has ${data.length}`,
        )
      }
      return Buffer.from(data.subarray(offset, offset + length))
    },
    async size(file, { signal } = {}) {
      signal?.throwIfAborted()
      return files.get(key(file))?.length
    },
    async *list(kind, { signal } = {}) {
      for (const [path, data] of Array.from(files)) {
        signal?.throwIfAborted()
        if (path.startsWith(`${kind}/`)) yield { name: path.slice(kind.length + 1), size: data.length }
      }
    },
    async remove(file, { signal } = {}) {
      signal?.throwIfAborted()
      refuseWrite()
      files.delete(key(file))
    },
    async setAside(file, { signal } = {}) {
      signal?.throwIfAborted()
      refuseWrite()
      const data = files.get(key(file))
      if (!data) throw new VmlError('not-found', `Cannot move "${key(file)}" aside: no such file`)
      let place = `damaged/${key(file)}`
      for (let copy = 1; files.has(place); copy++) place = `damaged/${key(file)}.${copy}`
      files.set(place, data)
      files.delete(key(file))
      return place
    },
    async [Symbol.asyncDispose]() {},
  }
}

function key(file: FileRef): string {
  return `${file.kind}/${file.name}`
}
