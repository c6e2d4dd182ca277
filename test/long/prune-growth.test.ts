// Ten gigabytes of changing data over a hundred entries, of which a rule keeps some: what is stored stays near what a fresh copy of the kept ones takes.
import assert from 'node:assert/strict'
import { createCipheriv } from 'node:crypto'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openLocal } from '../../src/backend/local.ts'
import { silentReporter } from '../../src/base/progress.ts'
import { runPruning } from '../../src/engine/prune.ts'
import type { Snapshot } from '../../src/model/entry.ts'
import type { TreeNode } from '../../src/model/tree.ts'
import { openMemoryMarks } from '../../src/store/prune-marks.ts'
import { initRepository } from '../../src/store/repository.ts'
import type { Repository } from '../../src/store/store.ts'
import { resticProgram } from '../restic-peer.ts'
import { cheapKey, fileNode, folderNode, password, snapshotOf, storeFile } from '../store-fixture.ts'

const entries = 100
const files = 260
const fileBytes = 400_000
const changedShare = 0.2
const keepLast = 8
const keepEvery = 10
const pruneEvery = 5
const checkpoints = new Set([25, 50, 75, 100])
const tolerance = 1.02

test('V62: over a hundred entries, what is stored stays within 2 % of a fresh copy of what is kept', async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'vml-growth-'))
  try {
    const place = join(folder, 'logbook')
    const repository = await initRepository({ backend: openLocal(place), keys: [cheapKey] })
    const marks = openMemoryMarks()
    const versions = new Uint32Array(files)
    const kept: { readonly id: Snapshot['id']; readonly entry: number }[] = []
    for (let entry = 1; entry <= entries; entry++) {
      for (let at = 0; at < files * changedShare; at++) versions[(entry * 37 + at * 11) % files] = entry
      kept.push({ id: await saveVersions(repository, versions), entry })
      if (entry % pruneEvery !== 0) continue
      const gone = kept.filter(({ entry: made }) => made <= entry - keepLast && made % keepEvery !== 0)
      {
        await using _lock = await repository.lock('exclusive')
        for (const { id } of gone) await repository.removeSnapshot(id)
      }
      kept.splice(0, Infinity, ...kept.filter((one) => !gone.includes(one)))
      // As a timer would call it; at a checkpoint nothing is left for a later run.
      const now = checkpoints.has(entry)
      const rule = { maxUnused: { share: 0.01 }, maxRepackBytes: Number.POSITIVE_INFINITY }
      await runPruning(repository, { rule, marks, now, waitMs: 0, reporter: silentReporter })
      if (!now) continue
      const fresh = join(folder, `fresh-${entry}`)
      restic(fresh, place, 'init', '--copy-chunker-params')
      restic(fresh, place, 'copy', '--quiet')
      const [stored, wanted] = [sizeOf(place), sizeOf(fresh)]
      context.diagnostic(
        `after ${entry} entries: ${kept.length} kept, ${stored} bytes stored, ${wanted} in a fresh copy`,
      )
      assert.ok(stored <= tolerance * wanted)
      restic(place, undefined, 'check', '--read-data')
      rmSync(fresh, { recursive: true })
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

async function saveVersions(repository: Repository, versions: Uint32Array): Promise<Snapshot['id']> {
  await using writer = await repository.beginWrite()
  const nodes: TreeNode[] = []
  for (const [at, version] of versions.entries())
    nodes.push(fileNode(String(at), await storeFile(writer, contentOf(at, version))))
  const tree = await writer.storeTree([folderNode('files', await writer.storeTree(nodes))])
  return (await writer.commit(snapshotOf(tree))).id
}

/** Key stream of AES: the same for the same file and version, and nothing that compresses. */
function contentOf(file: number, version: number): Buffer {
  const key = Buffer.alloc(32)
  key.writeUInt32LE(file, 0)
  key.writeUInt32LE(version, 4)
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(fileBytes + file * 16))
}

function sizeOf(place: string): number {
  return readdirSync(join(place, 'data'), { recursive: true, encoding: 'utf8' })
    .map((name) => statSync(join(place, 'data', name)))
    .reduce((sum, file) => sum + (file.isFile() ? file.size : 0), 0)
}

function restic(place: string, from: string | undefined, ...args: readonly string[]): void {
  const env = { ...process.env, RESTIC_PASSWORD: password.toString() }
  const source =
    from === undefined ? {} : { RESTIC_FROM_REPOSITORY: from, RESTIC_FROM_PASSWORD: password.toString() }
  execFileSync(resticProgram('0.19'), ['-r', place, '--no-cache', ...args], {
    env: { ...env, ...source },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
}
