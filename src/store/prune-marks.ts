// What a prune leaves for the next one: which packs are to go. A hint of this computer's: losing it costs one more run, and nothing is deleted because of it alone.
import { readFile, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { systemErrorCode } from '../base/failure.ts'
import { makePrivateFolder, writeFileDurable } from '../base/files.ts'
import { type PackId, parseId, type RepositoryId } from '../model/ids.ts'

export interface PruneMarks {
  /** Empty where there are none, or where they cannot be read. */
  read(): Promise<ReadonlySet<PackId>>
  write(packs: Iterable<PackId>): Promise<void>
}

/** A million packs of 16 MiB. */
const marksBytesMax = 80 * 1024 * 1024

/** In one file for each repository. */
export function openMarksFile(path: string, repository: RepositoryId): PruneMarks {
  return {
    async read() {
      try {
        if ((await stat(path)).size > marksBytesMax) return new Set()
        return parseMarks(JSON.parse(await readFile(path, 'utf8')), repository)
      } catch (error) {
        if (systemErrorCode(error) === undefined && !(error instanceof SyntaxError)) throw error
        return new Set()
      }
    },
    async write(packs) {
      await makePrivateFolder(dirname(path))
      await writeFileDurable(path, `${JSON.stringify({ schema: 1, repository, packs: [...packs] })}\n`)
    },
  }
}

/** For repositories that last no longer than the process. */
export function openMemoryMarks(packs: Iterable<PackId> = []): PruneMarks {
  let marked = new Set(packs)
  return {
    read: async () => marked,
    write: async (packs) => {
      marked = new Set(packs)
    },
  }
}

function parseMarks(value: unknown, repository: RepositoryId): ReadonlySet<PackId> {
  if (typeof value !== 'object' || value === null) return new Set()
  if (!('schema' in value && 'repository' in value && 'packs' in value)) return new Set()
  if (value.schema !== 1 || value.repository !== repository || !Array.isArray(value.packs)) return new Set()
  const names: readonly unknown[] = value.packs
  return new Set(
    names.flatMap((name) => {
      const pack = typeof name === 'string' ? parseId<PackId>(name) : undefined
      return pack === undefined ? [] : [pack]
    }),
  )
}
