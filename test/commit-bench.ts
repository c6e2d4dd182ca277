// A small root, what it is to become, and the commit between both: where a test looks at each call.
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { asRaw, rawFromString } from '../src/base/raw-text.ts'
import { parseRawPath, type RawPath } from '../src/model/raw-path.ts'
import { commit, prepareCommit, type PreparedCommit } from '../src/stage/commit.ts'
import { type CommitDisk, openCommitDisk } from '../src/stage/commit-disk.ts'
import { watchedDisk } from './stage-commit-disk.ts'
import { changesBetween, describeTree, readTree, sh, testLibc } from './stage-commit-tree.ts'

const libc = testLibc()
export const plain = openCommitDisk(libc)

export function openBench() {
  // Hundreds of syncs prove nothing here, and would wait for what others write.
  const folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'vml-commit-'))
  const [root, journal] = [join(folder, 'root'), join(folder, 'journal')]
  mkdirSync(root)
  sh(
    `umask 022; echo old >changed; mkdir -p gone/deep stays/in folder-to-file; echo deep >gone/deep/file; echo file >file-to-folder
    echo in >folder-to-file/in; echo s >stays/f; ln -s here link; echo '-' >'-odd
name'; echo twin >twin; ln twin stays/twin; echo r >rights; chmod 4755 rights; touch -d 2020-02-02 .`,
    root,
  )
  sh('cp -a root after; cp -a root before', folder)
  sh(
    `umask 022; echo changed >changed; rm -r gone file-to-folder folder-to-file; mkdir -p file-to-folder/in new-folder/deep; echo x >file-to-folder/in/x
    echo f >folder-to-file; chmod 700 stays; ln -sfn there link; echo new >new; ln new new-folder/new; echo n >new-folder/deep/n; rm -- '-odd
name'; echo '+' >'--odd'; rm twin; echo alone >twin; chown 1:2 rights; chmod 2711 rights; setfattr -n user.x -v x rights`,
    join(folder, 'after'),
  )
  const [before, after] = [readTree(libc, root), readTree(libc, join(folder, 'after'))]
  // A name that lost its twin is not changed by that.
  const all = changesBetween(before, after).filter(({ path }) => path !== '/stays/twin')
  const prepare = (disk: CommitDisk, changes = all) =>
    prepareCommit(disk, {
      root: rawFromString(root),
      folder: rawFromString(journal),
      changes,
      prepared: (path: RawPath) =>
        asRaw(`${rawFromString(join(folder, 'after'))}${path === '/' ? '' : path}`),
    })
  return {
    folder,
    root,
    journal,
    changes: all,
    prepare,
    run(disk: CommitDisk) {
      const prepared = prepare(disk)
      commit(disk, prepared)
      return prepared.journal
    },
    now(times?: 'no folder times') {
      const lines = (tree: typeof before) =>
        describeTree(
          times === undefined
            ? tree
            : new Map(
                [...tree].map(([path, { state, names }]) => [
                  path,
                  { names, state: state.type === 'dir' ? { ...state, mtimeNs: 0n } : state },
                ]),
              ),
        ).join('\n')
      const now = lines(readTree(libc, root))
      if (now === lines(before)) return 'before'
      return now === lines(after) ? 'after' : now
    },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  }
}

/** What a script makes of the root, as a commit. */
export function commitOf(bench: ReturnType<typeof openBench>, change: string, only = '/') {
  const from = rawFromString(join(bench.folder, 'from'))
  sh('cp -a root from', bench.folder)
  sh(change, join(bench.folder, 'from'))
  const changes = changesBetween(
    readTree(libc, bench.root),
    readTree(libc, join(bench.folder, 'from')),
  ).filter(({ path }) => path.startsWith(only))
  const prepared = prepareCommit(plain, {
    root: rawFromString(bench.root),
    folder: rawFromString(bench.journal),
    changes,
    prepared: (path: RawPath) => asRaw(`${from}${path}`),
  })
  const wanted = describeTree(readTree(libc, join(bench.folder, 'from')))
  return { prepared, isDone: () => assert.deepEqual(describeTree(readTree(libc, bench.root)), wanted) }
}

export function pathOf(text: string): RawPath {
  const path = parseRawPath(rawFromString(text))
  assert.ok(path)
  return path
}

/** At its first step; nor can it be taken back. */
export function cutOffAtFirstStep(prepared: PreparedCommit): void {
  const disk = watchedDisk(plain, (call, [from]) => {
    const isStep = call === 'renameNew' && String(from).includes('/after/')
    if (isStep || String(from).endsWith('/state.TAKING-BACK')) throw new Error('Killed')
  })
  assert.throws(() => commit(disk, prepared))
}
