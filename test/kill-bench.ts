// What both kill matrices need: a machine bench that can be put back as it was, and a look into every entry of its logbook.
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { openLocal } from '../src/backend/local.ts'
import type { TreeId } from '../src/model/ids.ts'
import { openRepository } from '../src/store/repository.ts'
import type { Repository } from '../src/store/store.ts'
import { type MachineBench, openMachineBench } from './e2e/machine-bench.ts'
import { type KilledRun, runVmlKilled } from './kill-at-operation.ts'
import { type Described, sh } from './e2e/nasty-tree.ts'
import { readContent } from './store-fixture.ts'

/** By id of the snapshot, then by path: the SHA-256 of a regular file, the type of anything else. */
export type Entries = ReadonlyMap<string, ReadonlyMap<string, string>>

export interface KillBench extends MachineBench {
  /** What `reset` goes back to: logbook, caches, configuration and the work folder `w`. */
  keep(): void
  /** Files of a logbook are never changed, so they are linked. `without`: what is copied would be other files to a save. */
  reset(what: 'all' | 'without w'): void
  /** `at` 0 does not kill. */
  run(args: readonly string[], at: number, env?: Readonly<Record<string, string>>): KilledRun
  /** Reads everything to the last byte. */
  entries(): Promise<Entries>
}

export async function openKillBench(): Promise<KillBench> {
  const bench = await openMachineBench()
  const { home } = bench
  const below = dirname(home)
  const base = mkdtempSync(join(tmpdir(), 'vml-kill-base-'))
  // Node's cache of compiled code is no part of what a kill may harm; and a home that is put back would lack it.
  const code = { NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'] ?? join(base, 'code') }
  const logbook = basename(bench.logbook)
  const secret = readFileSync(bench.test.passwordFile, 'utf8').trimEnd()
  return {
    ...bench,
    keep: () => void sh(below, 'rm -rf "$1/kept"; mkdir "$1/kept"; cp -a home "$2" "$1/kept"', base, logbook),
    reset(what) {
      const spared = what === 'all' ? '.' : 'w'
      sh(
        below,
        String.raw`
          rm -rf "$2"; cp -al "$1/kept/$2" .
          find home -mindepth 1 -maxdepth 1 ! -name "$3" -exec rm -rf {} +
          find "$1/kept/home" -mindepth 1 -maxdepth 1 ! -name "$3" -exec cp -a -t home {} +
        `,
        base,
        logbook,
        spared,
      )
    },
    run: (args, at, env = {}) => runVmlKilled({ args, home, below, at, env: { ...code, ...env } }),
    async entries() {
      await using repository = await openRepository({
        backend: openLocal(bench.logbook),
        secrets: [Buffer.from(secret)],
      })
      const found = new Map<string, ReadonlyMap<string, string>>()
      for await (const { id, tree } of repository.snapshots())
        found.set(id, await readEntry(repository, tree))
      return found
    },
    async [Symbol.asyncDispose]() {
      await bench[Symbol.asyncDispose]()
      rmSync(base, { recursive: true, force: true })
    },
  }
}

async function readEntry(repository: Repository, root: TreeId): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>()
  const walk = async (id: TreeId, path: string): Promise<void> => {
    for (const node of await repository.readTree(id)) {
      const at = `${path}/${node.name}`
      found.set(
        at,
        node.type === 'file' ? sha256(await readContent(repository, node.content ?? [])) : node.type,
      )
      if (node.subtree !== undefined) await walk(node.subtree, at)
    }
  }
  await walk(root, '')
  return found
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** Regular files of a tree, by paths relative to it, with the SHA-256 of their contents. */
export function contentsOf({ facts }: Described): ReadonlyMap<string, string> {
  return new Map(
    [...facts].flatMap(([path, fact]) =>
      fact.startsWith('100') ? [[path.slice(2), fact.split(' ').at(-1) ?? ''] as const] : [],
    ),
  )
}

/** The same of an entry, below a folder of it. */
export function savedBelow(entry: ReadonlyMap<string, string>, folder: string): ReadonlyMap<string, string> {
  return new Map(
    [...entry].flatMap(([path, what]) =>
      path.startsWith(`${folder}/`) && what.length === 64
        ? [[path.slice(folder.length + 1), what] as const]
        : [],
    ),
  )
}
