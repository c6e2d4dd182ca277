import assert from 'node:assert/strict'
import {
  closeSync,
  existsSync,
  globSync,
  lstatSync,
  openSync,
  readFileSync,
  statSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openBench, plain } from '../../test/commit-bench.ts'
import { watchedDisk } from '../../test/stage-commit-disk.ts'
import { changesBetween, readTree, sh, testLibc } from '../../test/stage-commit-tree.ts'
import { rawFromString } from '../base/raw-text.ts'
import { commit, takeBack } from './commit.ts'
import { forgetJournal } from './forget-journal.ts'
import { readState } from './journal.ts'
import { findOpenWriters, openFiles } from './open-writers.ts'
import { recover } from './recover.ts'

const libc = testLibc()
const everyNth = 7

/** A bench in which a file and a folder are moved, as an overlay does it, while both are open. */
function openMoves() {
  const bench = openBench()
  sh(
    'mkdir -p data/in; echo same >log; echo same >data/in/db; touch -r log data/in/db; echo closed >data/closed',
    bench.root,
  )
  sh('cp -p ../root/log log.1; cp -a ../root/data data2', join(bench.folder, 'after'))
  const [before, after] = [readTree(libc, bench.root), readTree(libc, join(bench.folder, 'after'))]
  const changes = changesBetween(before, after).filter(({ path }) => path !== '/stays/twin')
  const opened = ['log', 'data/in/db'].map((name) => openSync(join(bench.root, name), 'a'))
  return {
    ...bench,
    prepare: (disk = plain) => bench.prepare(disk, changes),
    write() {
      for (const [index, file] of opened.entries()) writeSync(file, `mine ${index}\n`)
    },
    written: () =>
      [0, 1].filter((index) => {
        const names = globSync('**/*', { cwd: bench.root }).map((name) => join(bench.root, name))
        return names.some(
          (name) => lstatSync(name).isFile() && readFileSync(name, 'utf8') === `same\nmine ${index}\n`,
        )
      }),
    [Symbol.dispose]() {
      for (const file of opened) closeSync(file)
      bench[Symbol.dispose]()
    },
  }
}

test('a file that is moved while a program has it open stays that file, also in a folder that is moved (G14)', () => {
  using bench = openMoves()
  const inode = (name: string) => statSync(join(bench.root, name)).ino
  const [log, db, closed] = ['log', 'data/in/db', 'data/closed'].map(inode)
  const prepared = bench.prepare()
  commit(plain, prepared)
  assert.deepEqual([inode('log.1'), inode('data2/in/db')], [log, db])
  assert.notEqual(inode('data2/closed'), closed)
  assert.deepEqual(findOpenWriters(plain, prepared.journal, { aside: 'kept', mayGoOn: () => true }), [])
  bench.write()
  assert.deepEqual(forgetJournal(plain, prepared.journal), [])
  assert.equal(readFileSync(join(bench.root, 'log.1'), 'utf8'), 'same\nmine 0\n')
  assert.equal(readFileSync(join(bench.root, 'data2/in/db'), 'utf8'), 'same\nmine 1\n')
  assert.ok(!existsSync(join(bench.root, 'log')) && !existsSync(join(bench.root, 'data')))
  // For the kernel it has the name that went.
  const status = plain.look(rawFromString(join(bench.root, 'log.1')))
  assert.ok(status)
  assert.deepEqual(openFiles(() => true).of(rawFromString('log.1'), status), [process.pid])
})

test('where such a file is written into before all is committed, nothing is; and taken back, it is where it was', () => {
  using bench = openMoves()
  const prepared = bench.prepare()
  bench.write()
  assert.throws(() => commit(plain, prepared), /changed meanwhile; nothing was changed$/)
  assert.equal(bench.written().length, 2)
  assert.ok(!existsSync(join(bench.root, 'log.1')) && !existsSync(join(bench.root, 'data2')))
  using other = openMoves()
  const again = other.prepare()
  commit(plain, again)
  other.write()
  takeBack(plain, again.journal)
  assert.deepEqual(forgetJournal(plain, again.journal), [])
  assert.equal(readFileSync(join(other.root, 'log'), 'utf8'), 'same\nmine 0\n')
  assert.equal(readFileSync(join(other.root, 'data/in/db'), 'utf8'), 'same\nmine 1\n')
  assert.ok(!existsSync(join(other.root, 'log.1')) && !existsSync(join(other.root, 'data2')))
})

test('what a program writes into such a file, wherever a commit was cut off, is there after the recovery', () => {
  let isOver = false
  for (let at = 0; !isOver; at += everyNth)
    for (const way of ['', 'backward', 'recover.sh', 'recover.sh --backward']) {
      using bench = openMoves()
      const prepared = bench.prepare()
      let calls = 0
      const disk = watchedDisk(plain, () => {
        if (calls++ >= at) throw new Error('Killed')
      })
      try {
        commit(disk, prepared)
        isOver = true
      } catch (error) {
        if (calls <= at) throw error
      }
      bench.write()
      const note = `after call ${at}, then ${way}`
      if (way.startsWith('recover.sh'))
        sh(
          `sh journal/${way} 2>/dev/null || sh journal/recover.sh --backward 2>/dev/null || true`,
          bench.folder,
        )
      const folder = rawFromString(bench.journal)
      const { journal } = recover(
        plain,
        folder,
        way === 'backward' && readState(folder) !== 'COMMITTED' ? 'backward' : undefined,
      )
      if (journal) forgetJournal(plain, journal)
      assert.equal(bench.written().length, 2, note)
      const names = ['log', 'log.1'].filter((name) => existsSync(join(bench.root, name)))
      assert.equal(names.length, 1, `${note}: ${names.join()}`)
      assert.ok(!existsSync(bench.journal), note)
    }
})
