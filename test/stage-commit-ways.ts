// The ways to recover a commit that was cut off, what comes of each, and what must come of it.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { printable, rawFromString, rawToBytes } from '../src/base/raw-text.ts'
import { keptAt } from '../src/stage/commit.ts'
import { openCommitDisk } from '../src/stage/commit-disk.ts'
import { forgetJournal } from '../src/stage/forget-journal.ts'
import { type JournalState, readState } from '../src/stage/journal.ts'
import { recover } from '../src/stage/recover.ts'
import { type CommitCase, leftBehind } from './stage-commit-case.ts'
import { testLibc } from './stage-commit-tree.ts'

export const ways = ['vml', 'vml backward', 'sh', 'sh backward'] as const
export type Way = (typeof ways)[number]

/** What is being forgotten is not to be taken back any more: recover.sh says so, and fails. */
export function waysFrom(state: JournalState | undefined): readonly Way[] {
  return state === 'FORGOTTEN' ? ['vml', 'sh'] : ways
}

/** sh of busybox has every program in itself: so they, too, are tried. */
const shells: readonly (readonly string[])[] = [
  ['/bin/dash'],
  ['/bin/busybox', 'sh'],
  ['/bin/bash', '--norc', '--posix'],
]

export function shellOf(index: number): readonly string[] {
  return shells[index % shells.length] ?? ['/bin/sh']
}

const disk = openCommitDisk(testLibc())

export function stateOf({ staged }: CommitCase): JournalState | undefined {
  return readState(rawFromString(staged.journal))
}

export function expected(state: JournalState | undefined, way: Way): string {
  if (state === 'COMMITTING' || state === 'COMMITTED') return way.endsWith('backward') ? 'before' : 'after'
  return 'before'
}

/** Everything of a folder's end is the same for all: what is left behind is looked at, too. */
export function outcome(staged: CommitCase, way: Way, shell: readonly string[]): string {
  if (way === 'vml' || way === 'vml backward') {
    const { journal } = recover(
      disk,
      rawFromString(staged.staged.journal),
      way === 'vml' ? undefined : 'backward',
    )
    if (journal) {
      const now = staged.now()
      checkKept(staged)
      forgetJournal(disk, journal)
      assert.equal(staged.now(), now)
    }
    assert.deepEqual(leftBehind(staged), [])
    return staged.now()
  }
  const state = stateOf(staged)
  const { status, stderr } = runScript(staged, way, shell)
  if (status !== 0) return `recover.sh: ${status} ${stderr}`
  // What it left is then tidied up by VML, which changes nothing more.
  // Busybox's own touch knows no fractions of seconds.
  const times = shell[0]?.endsWith('busybox') ? 'in seconds' : undefined
  const now = staged.now(times)
  const { journal } = recover(disk, rawFromString(staged.staged.journal))
  if (journal) forgetJournal(disk, journal)
  assert.deepEqual(leftBehind(staged), [])
  // Before anything is prepared, and after it is forgotten, a folder to keep things in may have been made on another mount, or have gone from there: the time of the folder above it is for VML alone to set.
  if (state === undefined || state === 'PREPARED' || state === 'FORGOTTEN') return staged.now(times)
  assert.equal(staged.now(times), now)
  return now
}

/** With `path`, programs are found there, and `sync` waits for the disk; else it does not (`withoutSync`). */
export function runScript({ staged }: CommitCase, way: Way, shell: readonly string[], path?: string) {
  const script = join(staged.journal, 'recover.sh')
  if (!existsSync(script)) return { status: 0, stderr: '', signal: null }
  const [program = '/bin/sh', ...words] = shell
  // Busybox finds its own sync before any other.
  const call = path === undefined ? ['-c', 'sync() { :; }; . "$0"', script] : [script]
  return spawnSync(program, [...words, ...call, ...(way === 'sh' ? [] : ['--backward'])], {
    encoding: 'utf8',
    env: { PATH: path ?? '/usr/sbin:/usr/bin:/sbin:/bin' },
  })
}

/** A process that is killed leaves what it wrote in the kernel: waiting for the disk would prove nothing here. */
export function withoutSync(folder: string): string {
  const bin = join(folder, 'no-sync')
  mkdirSync(bin, { recursive: true })
  writeFileSync(join(bin, 'sync'), '#!/bin/sh\n', { mode: 0o755 })
  return bin
}

/** What is kept of each path is what its change says that was there. */
export function checkKept({ staged, changes }: CommitCase): void {
  const journal = recover(disk, rawFromString(staged.journal)).journal
  assert.ok(journal)
  let files = 0
  for (const { path, before, after } of changes) {
    if (!before || (before.type === 'dir' && after?.type === 'dir')) continue
    const kept = keptAt(journal, path)
    assert.ok(kept !== undefined, printable(path))
    if (before.type !== 'file') continue
    files++
    assert.equal(
      createHash('sha256')
        .update(readFileSync(rawToBytes(kept)))
        .digest('hex'),
      before.sha256,
      printable(path),
    )
  }
  assert.ok(files > 20, `${files} files`)
}
