// A comparison that overlooks something proves nothing: each kind of difference is made once, and found.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { compareTrees, renderComparison, type CompareOptions } from './tree-compare.ts'
import { otherNumbers, regenerated } from './tree-rules.ts'

type Change = (root: string) => void

test('two trees made alike have no difference', () => {
  assert.deepEqual(
    compared(() => {}),
    [],
  )
})

test('each kind of difference is found at its path', () => {
  const found: readonly (readonly [string, Change])[] = [
    ['/file: content', (root) => writeFileSync(join(root, 'file'), 'gile')],
    ['/file: mode', (root) => chmodSync(join(root, 'file'), 0o4755)],
    ['/file: xattrs', (root) => execFileSync('setfattr', ['-n', 'user.a', '-v', 'b', join(root, 'file')])],
    ['/file: only in one', (root) => unlinkSync(join(root, 'file'))],
    ['/new: only in other', (root) => mkdirSync(join(root, 'new'))],
    ['/link: target', (root) => replace(join(root, 'link'), (path) => symlinkSync('elsewhere', path))],
    ['/link: type', (root) => replace(join(root, 'link'), (path) => mkdirSync(path))],
    ['/two: names', (root) => replace(join(root, 'two'), (path) => writeFileSync(path, 'one'))],
    ['/pipe: type', (root) => replace(join(root, 'pipe'), (path) => writeFileSync(path, ''))],
    ['/folder: mode', (root) => chmodSync(join(root, 'folder'), 0o1777)],
  ]
  for (const [said, change] of found) {
    assert.ok(
      compared(change).some((line) => line.startsWith(said)),
      `${said} in ${compared(change).join(', ')}`,
    )
  }
})

test('times of files are compared when that is asked for', () => {
  const change: Change = (root) => utimesSync(join(root, 'file'), 1, 1)
  assert.deepEqual(compared(change), [])
  assert.equal(compared(change, { times: true }).length, 1)
})

test('a further name outside of what is compared makes no difference', () => {
  assert.deepEqual(
    compared((root) => linkSync(join(root, 'file'), `${root}.link`)),
    [],
  )
})

test('what a rule allows is allowed for that path alone', () => {
  const options = { allowed: regenerated }
  const write = (path: string): Change => {
    return (root) => {
      mkdirSync(join(root, path, '..'), { recursive: true })
      writeFileSync(join(root, path), 'other')
    }
  }
  assert.deepEqual(compared(write('folder/__pycache__/a.cpython-311.pyc'), options), [])
  assert.equal(compared(write('folder/__pycache__/a.txt'), options).length, 1)
  assert.deepEqual(compared(write('folder/log/a'), options), [
    '/folder/log: only in other',
    '/folder/log/a: only in other',
  ])
})

test('numbers of named users may differ, and nothing else of their lines', () => {
  const allowed = [otherNumbers({ users: ['late'], groups: ['late'] })]
  const passwd = (line: string): Change => {
    return (root) => writeFileSync(join(root, 'etc/passwd'), `root:x:0:0::/root:/bin/sh\n${line}\n`)
  }
  assert.deepEqual(compared(passwd('late:x:1005:1005::/:/bin/sh'), { allowed }), [])
  assert.equal(compared(passwd('late:x:1005:1005::/:/bin/bash'), { allowed }).length, 1)
  assert.equal(compared(passwd('late:x:1005:1005::/:/bin/sh'), {}).length, 1)
})

/** Lines without what each tree has. */
function compared(change: Change, options: CompareOptions = {}): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'vml-tree-compare-'))
  try {
    const [one, other] = ['one', 'other'].map((name) => makeTree(join(folder, name)))
    if (one === undefined || other === undefined) throw new Error('Two trees')
    change(other)
    const text = renderComparison(compareTrees(one, other, options))
    return text === '' ? [] : text.split('\n').map((line) => line.split(': ').slice(0, 2).join(': '))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function makeTree(root: string): string {
  mkdirSync(join(root, 'etc'), { recursive: true })
  mkdirSync(join(root, 'folder'))
  writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0::/root:/bin/sh\nlate:x:1004:1004::/:/bin/sh\n')
  writeFileSync(join(root, 'file'), 'file')
  writeFileSync(join(root, 'one'), 'one')
  linkSync(join(root, 'one'), join(root, 'two'))
  symlinkSync('file', join(root, 'link'))
  execFileSync('mkfifo', [join(root, 'pipe')])
  for (const name of ['etc/passwd', 'file', 'one']) utimesSync(join(root, name), 0, 0)
  return root
}

function replace(path: string, make: (path: string) => void) {
  unlinkSync(path)
  make(path)
}
