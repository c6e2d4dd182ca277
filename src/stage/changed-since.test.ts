import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  existsSync,
  globSync,
  lstatSync,
  lutimesSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { commitOf, openBench, pathOf, plain } from '../../test/commit-bench.ts'
import { watchedDisk } from '../../test/stage-commit-disk.ts'
import { isFailure, VmlError } from '../base/failure.ts'
import { rawFromString } from '../base/raw-text.ts'
import { commit, describeLeft, keptAt, type PreparedCommit, takeBack } from './commit.ts'
import type { CommitDisk } from './commit-disk.ts'
import { forgetJournal } from './forget-journal.ts'
import { enterState, readJournal } from './journal.ts'
import { recover } from './recover.ts'

type Bench = ReturnType<typeof openBench>

/** What somebody does to a file, after a commit was cut off or before its journal is forgotten. */
const edits: Readonly<Record<string, (file: string) => void>> = {
  'is written into': (file) => appendFileSync(file, 'mine\n'),
  'is replaced by another one': (file) => {
    writeFileSync(`${file}~`, `${readFileSync(file, 'utf8')}mine\n`)
    renameSync(`${file}~`, file)
  },
}

const targets: readonly string[] = [
  'changed',
  'twin',
  'file-to-folder',
  'file-to-folder/in/x',
  'folder-to-file',
  'folder-to-file/in',
  'gone/deep/file',
  'new',
  'new-folder/new',
  'new-folder/deep/n',
]

/** Of a folder that goes as a whole, whoever has it open can still write into it. */
const inGone: readonly string[] = ['folder-to-file/in', 'gone/deep/file']

const ways: Readonly<Record<string, (bench: Bench) => void>> = {
  vml: (bench) => recoverByVml(bench),
  'vml backward, or else vml': (bench) => {
    try {
      recoverByVml(bench, 'backward')
    } catch (error) {
      assert.ok(isFailure(error, 'conflict'), String(error))
      recoverByVml(bench)
    }
  },
  'dash, or else dash --backward': (bench) => {
    if (!runScript(bench, 'dash')) assert.ok(runScript(bench, 'dash', '--backward'))
    recoverByVml(bench)
  },
  'busybox --backward': (bench) => {
    runScript(bench, 'busybox sh', '--backward')
    recoverByVml(bench)
  },
}

test('what somebody writes after a commit was cut off, wherever that was, is there after the recovery; and so is what the commit had replaced (issue 4)', () => {
  let cases = 0
  let writtenToNew = 0
  let at = 0
  for (let isOver = false; !isOver; at++) {
    for (const [index, target] of targets.entries())
      for (const [edited, edit] of Object.entries(edits))
        for (const [way, runWay] of Object.entries(ways)) {
          // All of them, one in some: each call is met by each way, and each target by each edit.
          if ((cases++ + at * 5) % everyNth > 0) continue
          using bench = openBench()
          const prepared = bench.prepare(plain)
          isOver = !isCutOff(prepared, at)
          const file = fileOf(bench, prepared, target)
          if (file === undefined) continue
          const old = contentBefore(bench, target)
          const isNew = old !== undefined && !readFileSync(file).equals(old)
          edit(file)
          // Within a tick of the clock it has no later time.
          const later = Date.now() / 1000 + 5
          utimesSync(file, later, later)
          const mine = readFileSync(file)
          const note = `${target} ${edited} after call ${at}, then ${way} (${index})`
          try {
            runWay(bench)
          } catch (error) {
            throw new Error(note, { cause: error })
          }
          const contents = contentsBelow(bench.root)
          assert.ok(
            contents.some((content) => content.equals(mine)),
            `lost: ${note}`,
          )
          if (!isNew || !isTakenBack(bench)) continue
          writtenToNew++
          assert.ok(
            contents.some((content) => content.equals(old)),
            `what was there before is lost: ${note}`,
          )
        }
  }
  assert.ok(at > 20 && cases > 1500 && writtenToNew > 5, `${at} calls, ${cases} cases, ${writtenToNew}`)
})

/** What is done after a commit has ended; the path that is told. */
const laterChanges: readonly (readonly [script: string, path: string])[] = [
  ['echo mine >>changed', '/changed'],
  ['rm new-folder/deep/n', '/new-folder/deep/n'],
  ['echo mine >new-folder/deep/mine', '/new-folder/deep/mine'],
  ['rm -r new-folder', '/new-folder'],
  ['ln -sfn elsewhere link', '/link'],
  ['mkdir gone', '/gone'],
  ['rm -r file-to-folder; echo mine >file-to-folder', '/file-to-folder'],
  ['chmod 750 stays', '/stays'],
]

test('a commit that had ended is taken back only where nothing of it was changed since; else nothing is, and it can be recorded (F1d)', () => {
  for (const [script, path] of laterChanges) {
    using bench = openBench()
    bench.run(plain)
    execFileSync('/bin/sh', ['-c', script], { cwd: bench.root })
    const later = bench.now()
    assert.throws(
      () => recover(plain, rawFromString(bench.journal), 'backward'),
      (error) => {
        assert.ok(error instanceof VmlError && error.code === 'conflict', String(error))
        const { paths } = error.details
        assert.ok(Array.isArray(paths) && paths.includes(path), `${script}: ${String(paths)}`)
        return true
      },
    )
    assert.equal(bench.now(), later, script)
    assert.equal(recover(plain, rawFromString(bench.journal)).did, 'nothing', script)
  }
  using bench = openBench()
  bench.run(plain)
  // A program has made its cache in it.
  execFileSync('/bin/sh', ['-c', 'mkdir new-folder/__pycache__; echo x >new-folder/__pycache__/x.pyc'], {
    cwd: bench.root,
  })
  assert.equal(recover(plain, rawFromString(bench.journal), 'backward').did, 'taken back')
})

/** What somebody does after a commit, where it is taken back for another reason. */
const madeAnew: readonly string[] = [
  'echo mine >gone',
  'mkdir -p gone/deep; echo mine >gone/deep/file',
  "echo mine >'-odd\nname'",
  "mkdir -- '-odd\nname'; echo mine >'-odd\nname/in'",
  'mkdir gone; ln -s mine gone/deep',
  'rm -r file-to-folder; echo mine >file-to-folder',
  'rm -r file-to-folder; ln -s mine file-to-folder',
  'rm folder-to-file; mkdir folder-to-file; echo mine >folder-to-file/in',
  'rm -r new-folder; echo mine >new-folder',
  'rm -r new-folder; ln -s mine new-folder',
  'rm new; mkdir new; echo mine >new/in',
  'rm changed; mkdir changed; echo mine >changed/in',
  'rm changed; ln -s mine changed',
  'rm link; mkdir link; echo mine >link/in',
  'rm changed new; rm -r new-folder file-to-folder',
  'mkdir away; mv stays away; echo mine >away/mine',
]

test('whatever somebody makes where a commit took something away, or put something, the commit can be taken back, and both are there (issue 4)', () => {
  for (const script of madeAnew)
    for (const how of ['vml', 'dash', 'busybox sh']) {
      const note = `${script}, then ${how}`
      using bench = openBench()
      const journal = bench.run(plain)
      execFileSync('/bin/sh', ['-c', script], { cwd: bench.root })
      // Within a tick of the clock it has no later time.
      const later = Date.now() / 1000 + 5
      for (const path of mineBelow(bench.root)) lutimesSync(path, later, later)
      if (how === 'vml') {
        takeBack(plain, journal)
        forgetJournal(plain, journal)
      } else {
        assert.ok(runScript(bench, how, '--backward'), note)
        recoverByVml(bench)
      }
      assert.equal(mineBelow(bench.root).length > 0, script.includes('mine'), `mine: ${note}`)
      const contents = contentsBelow(bench.root)
      for (const content of contentsBelow(join(bench.folder, 'before')))
        assert.ok(
          contents.some((each) => each.equals(content)),
          `${content.toString()} of before: ${note}`,
        )
    }
})

test('a folder that was removed or moved away since is made anew for what was in it, in either way to take a commit back', () => {
  for (const how of ['vml', 'recovered', 'dash, folders made by hand']) {
    using bench = openBench()
    execFileSync('/bin/sh', ['-c', 'mkdir -p d/in e; echo old >d/in/a; echo old >e/a; echo old >e/b'], {
      cwd: bench.root,
    })
    const { prepared } = commitOf(bench, 'echo new >d/in/a; rm e/a; ln -s new e/c; mkdir e/d; chmod 700 e')
    commit(plain, prepared)
    execFileSync('/bin/sh', ['-c', 'mv d moved; rm -r e'], { cwd: bench.root })
    if (how === 'vml') {
      const told = describeLeft(takeBack(plain, prepared.journal))
      assert.match(told, /"\/e" \(it was gone, and is there again/)
      assert.match(told, /"\/d" \(it was gone/)
    } else if (how === 'recovered') {
      // Cut off as it is taken back.
      enterState(plain, prepared.journal, 'TAKING-BACK')
      recoverByVml(bench)
    } else {
      assert.equal(runScript(bench, 'dash', '--backward'), false)
      execFileSync('mkdir', ['-p', 'd/in', 'e'], { cwd: bench.root })
      assert.ok(runScript(bench, 'dash', '--backward'))
    }
    for (const name of ['d/in/a', 'e/a'])
      assert.equal(readFileSync(join(bench.root, name), 'utf8'), 'old\n', how)
    assert.equal(readFileSync(join(bench.root, 'moved/in/a'), 'utf8'), 'new\n', how)
  }
})

test('a commit whose folder is gone is ended all the same', () => {
  using bench = openBench()
  execFileSync('mkdir', ['e'], { cwd: bench.root })
  const { prepared } = commitOf(bench, 'echo new >e/new')
  commit(plain, prepared)
  rmSync(join(bench.root, 'e'), { recursive: true })
  renameSync(join(bench.journal, 'state'), join(bench.journal, 'state.COMMITTED'))
  writeFileSync(join(bench.journal, 'state'), 'COMMITTING\n')
  assert.equal(recover(plain, rawFromString(bench.journal)).did, 'committed')
})

function mineBelow(folder: string): string[] {
  return globSync('**/*', { cwd: folder })
    .map((name) => join(folder, name))
    .filter((path) =>
      lstatSync(path).isSymbolicLink()
        ? readlinkSync(path) === 'mine'
        : isFile(path) && readFileSync(path, 'utf8') === 'mine\n',
    )
}

const everyNth = 13

/** False when the commit came to its end before. */
function isCutOff(prepared: PreparedCommit, at: number): boolean {
  let calls = 0
  let isOff = false
  const disk: CommitDisk = watchedDisk(plain, () => {
    isOff ||= calls++ === at
    if (isOff) throw new Error('Killed')
  })
  try {
    commit(disk, prepared)
  } catch (error) {
    if (!isOff) throw error
  }
  return isOff
}

function fileOf(bench: Bench, { journal }: PreparedCommit, target: string): string | undefined {
  const live = join(bench.root, target)
  if (isFile(live)) return live
  const kept = inGone.includes(target) ? keptAt(journal, pathOf(`/${target}`)) : undefined
  const place = kept && Buffer.from(kept, 'latin1').toString()
  return place !== undefined && isFile(place) ? place : undefined
}

function isFile(path: string): boolean {
  return existsSync(path) && lstatSync(path).isFile()
}

function contentBefore(bench: Bench, target: string): Buffer | undefined {
  const file = join(bench.folder, 'before', target)
  return isFile(file) ? readFileSync(file) : undefined
}

function isTakenBack(bench: Bench): boolean {
  return !existsSync(join(bench.root, '--odd'))
}

function contentsBelow(folder: string): Buffer[] {
  return globSync('**/*', { cwd: folder })
    .map((name) => join(folder, name))
    .filter(isFile)
    .map((file) => readFileSync(file))
}

function recoverByVml(bench: Bench, direction?: 'backward'): void {
  const { journal } = recover(plain, rawFromString(bench.journal), direction)
  if (journal) forgetJournal(plain, journal)
  assert.equal(readJournal(rawFromString(bench.journal)), undefined)
}

function runScript(bench: Bench, shell: string, ...words: readonly string[]): boolean {
  try {
    execFileSync('/bin/sh', ['-c', `${shell} journal/recover.sh "$@"`, 'sh', ...words], {
      cwd: bench.folder,
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    return true
  } catch (error) {
    if (error instanceof Error && 'status' in error && error.status === 1) return false
    throw error
  }
}
