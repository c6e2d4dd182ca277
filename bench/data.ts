// The files that are saved and restored: made once from a seed, then kept below the cache folder.
import { createHash } from 'node:crypto'
import {
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { makeBig } from './data-big.ts'
import { makeHome } from './data-home.ts'
import { type Maker, openMaker } from './data-maker.ts'
import { makeTree } from './data-tree.ts'
import type { Space } from './space.ts'

/** `size` is a scale for homes and big files, and a number of files for trees. */
export interface DataRequest {
  readonly kind: 'home' | 'big' | 'tree'
  readonly size: number
}

export interface DataSet {
  readonly folder: string
  /** What the generator and the size come to: two runs with the same one had the same files. */
  readonly fingerprint: string
  readonly files: number
  readonly bytes: number
}

const kinds: Readonly<
  Record<
    DataRequest['kind'],
    { make: (maker: Maker, root: string, size: number) => Promise<void>; space: (size: number) => Space }
  >
> = {
  home: {
    make: makeHome,
    // At a very small scale the sixty large files and the ends of the sparse one are what is left.
    space: (scale) => ({ bytes: 80e6 + 2.7e9 * scale, files: 300 + 90_000 * scale }),
  },
  big: {
    make: async (maker, _root, scale) => await makeBig(maker, scale),
    space: (scale) => ({ bytes: 10e6 + 4.2e9 * scale, files: 50 }),
  },
  tree: {
    make: async (maker, _root, files) => await makeTree(maker, files),
    // A line takes up a block; an inode has a quarter of a KiB.
    space: (files) => ({ bytes: files * 2400, files: files * 1.03 }),
  },
}

/** What a copy of it takes up, at most. */
export function spaceOf({ kind, size }: DataRequest): Space {
  return kinds[kind].space(size)
}

export function isMade(cache: string, request: DataRequest): boolean {
  return existsSync(join(homeOf(cache, request).home, 'sums.json'))
}

/** Makes the set where it is not there yet; one that an older generator made is removed. */
export async function openData(cache: string, request: DataRequest, signal: AbortSignal): Promise<DataSet> {
  const { home, name, fingerprint } = homeOf(cache, request)
  const folder = join(home, 'data')
  if (!isMade(cache, request)) {
    mkdirSync(cache, { recursive: true, mode: 0o700 })
    // The name has the process's number: what a killed one left is found by it.
    const work = mkdtempSync(join(cache, `run-${process.pid}-`))
    try {
      const root = join(work, 'data')
      mkdirSync(root)
      const maker = openMaker(root, signal)
      await kinds[request.kind].make(maker, root, request.size)
      maker.finish()
      writeFileSync(
        join(work, 'sums.json'),
        JSON.stringify({ files: maker.written.length, bytes: maker.bytes }),
      )
      for (const older of globSync(`${name}-*`, { cwd: cache }))
        if (join(cache, older) !== home) rmSync(join(cache, older), { recursive: true, force: true })
      try {
        renameSync(work, home)
      } catch (error) {
        // Somebody else made the same files meanwhile.
        if (!isMade(cache, request)) throw error
      }
    } finally {
      rmSync(work, { recursive: true, force: true })
    }
  }
  const sums = JSON.parse(readFileSync(join(home, 'sums.json'), 'utf8')) as { files: number; bytes: number }
  return { folder, fingerprint, ...sums }
}

function homeOf(
  cache: string,
  { kind, size }: DataRequest,
): { home: string; name: string; fingerprint: string } {
  const hash = createHash('sha256').update(`${kind} ${size}`)
  for (const file of [`data-${kind}.ts`, 'data-maker.ts', 'random.ts'])
    hash.update(readFileSync(join(import.meta.dirname, file)))
  const fingerprint = hash.digest('hex').slice(0, 16)
  const name = `${kind}-${size}`
  return { home: join(cache, `${name}-${fingerprint}`), name, fingerprint }
}
