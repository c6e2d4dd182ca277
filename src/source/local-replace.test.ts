// Replacing and removing beside somebody who writes at the worst moment, between any two calls.
import assert from 'node:assert/strict'
import { tmpdir } from 'node:os'
import { test } from 'node:test'
import { systemErrorCode } from '../base/failure.ts'
import { asRaw } from '../base/raw-text.ts'
import { baseName } from '../model/raw-path.ts'
import { type Libc, openLibc } from '../wire/libc.ts'
import { openLocalFolders } from './local-folders.ts'
import { openLocalReplacer } from './local-replace.ts'
import { openLocalWriter } from './local-write.ts'
import { isOfRestore, judgeLeftover, leftoverName, newRun } from './restore-leftover.ts'
import { standingNow } from './standing.ts'
import { type Bench, openBench } from './userlands.fixture.ts'

type Call = 'exchangeAt' | 'renameNewAt' | 'removeAt'

interface Moment {
  readonly bench: Bench
  /** What is done before the call of this name and number. */
  readonly before?: readonly [Call, number, string]
  readonly refuse?: Partial<Record<Call, string>>
  readonly killAt?: Call
}

/** `f` is replaced by `new`, or removed; returns the code of the failure, and what stands there afterwards. */
function act(what: 'replace' | 'remove', { bench, before, refuse = {}, killAt }: Moment): string {
  const plain = openLibc(tmpdir())
  assert.ok(plain)
  const counts = new Map<Call, number>()
  const wrap = (name: Call) => {
    const call: (...args: never[]) => void = plain[name]
    return (...args: never[]) => {
      const number = (counts.get(name) ?? 0) + 1
      counts.set(name, number)
      if (killAt === name) throw new Error('killed')
      const code = refuse[name]
      if (code !== undefined) throw Object.assign(new Error(code), { code, syscall: 'renameat2' })
      if (before?.[0] === name && before[1] === number) bench.sh(before[2])
      call(...args)
    }
  }
  const libc: Libc = {
    ...plain,
    exchangeAt: wrap('exchangeAt'),
    renameNewAt: wrap('renameNewAt'),
    removeAt: wrap('removeAt'),
  }
  using folders = openLocalFolders(plain)
  const place = folders.openParent(bench.path('d/f'))
  const run = '0123456789abcdef'
  const replacer = openLocalReplacer(libc, { run, thread: 0 })
  const seen = standingNow(plain.statAt(place.folder, place.name))
  try {
    if (what === 'remove') replacer.remove(place, seen)
    else replacer.replace(place, leftoverName(run, 'p0'), seen)
    return 'done'
  } catch (error) {
    return systemErrorCode(error) ?? String(error)
  }
}

function openFolder(): Bench {
  const bench = openBench()
  bench.sh('mkdir d; echo old > d/f; echo new > d/.vml-restore-0123456789abcdef-p0')
  return bench
}

/** Contents of the file, of what is aside, and of all else. */
function stands(bench: Bench): string {
  return bench.sh(
    `cd d; cat f 2>/dev/null || echo none; for f in .vml-aside*; do [ ! -e $f ] || echo "aside $(cat $f)"; done`,
  )
}

const within = 'echo late > d/f'
const renamed = 'echo late > d/t; mv d/t d/f'

for (const [title, moment, replaced, removed] of [
  ['at rest', {}, ['done', 'new\n'], ['done', 'none\n']],
  [
    'where the file system cannot exchange',
    { refuse: { exchangeAt: 'EINVAL', renameNewAt: 'EINVAL' } },
    ['done', 'new\n'],
    ['done', 'none\n'],
  ],
  ['that is written right before', { before: ['exchangeAt', 1, within] }, ['EEXIST', 'late\n'], undefined],
  [
    'that is saved by a rename right before',
    { before: ['exchangeAt', 1, renamed] },
    ['EEXIST', 'late\n'],
    undefined,
  ],
  [
    'that became a folder right before',
    { before: ['exchangeAt', 1, 'rm d/f; mkdir d/f'] },
    ['EEXIST', 'none\n'],
    undefined,
  ],
  [
    'that is written right before it goes',
    { before: ['renameNewAt', 1, within] },
    undefined,
    ['EEXIST', 'late\n'],
  ],
] as const) {
  test(`a file ${title} is replaced or removed only if it is still what was seen`, () => {
    for (const [what, wish] of [
      ['replace', replaced],
      ['remove', removed],
    ] as const) {
      if (!wish) continue
      using bench = openFolder()
      assert.deepEqual([act(what, { bench, ...moment }), stands(bench)], wish, what)
    }
  })
}

test('what came to a name twice within the calls is all there: the last under the name, the one before beside it', () => {
  using bench = openFolder()
  const libc = openLibc(tmpdir())
  assert.ok(libc)
  // First an edit in the old file, then, before it is given back, a new one in place of ours.
  bench.sh('touch -d @1 d/f')
  using folders = openLocalFolders(libc)
  const place = folders.openParent(bench.path('d/f'))
  const seen = standingNow(libc.statAt(place.folder, place.name))
  let calls = 0
  const late: Libc = {
    ...libc,
    exchangeAt(one, other) {
      calls++
      if (calls === 1) bench.sh('echo first > d/f')
      if (calls === 2) bench.sh('echo second > d/t; mv d/t d/f')
      libc.exchangeAt(one, other)
    },
  }
  const replacer = openLocalReplacer(late, { run: '0123456789abcdef', thread: 0 })
  assert.throws(
    () => replacer.replace(place, leftoverName('0123456789abcdef', 'p0'), seen),
    (error) => systemErrorCode(error) === 'EASIDE',
  )
  assert.equal(stands(bench), 'second\naside first\n')
})

test('a kill between two calls leaves the old or the new one under the name, and only what an entry has is swept', () => {
  for (const [what, killAt, before, standing, swept] of [
    ['replace', 'exchangeAt', undefined, 'old\naside new\n', true],
    ['replace', 'removeAt', undefined, 'new\naside old\n', true],
    ['replace', 'removeAt', 'echo late > d/f', 'new\naside late\n', false],
    ['remove', 'removeAt', undefined, 'none\naside old\n', true],
    ['remove', 'removeAt', 'echo late > d/f', 'none\naside late\n', false],
  ] as const) {
    using bench = openFolder()
    const libc = openLibc(tmpdir())
    assert.ok(libc)
    using folders = openLocalFolders(libc)
    const place = folders.openParent(bench.path('d/f'))
    const seen = standingNow(libc.statAt(place.folder, place.name))
    const killed = (): never => {
      throw new Error('killed')
    }
    let dead = false
    const dying =
      <Args extends readonly unknown[]>(name: string, call: (...args: Args) => void) =>
      (...args: Args) => {
        dead ||= name === killAt
        if (dead) killed()
        if (before !== undefined && (name === 'exchangeAt' || name === 'renameNewAt')) bench.sh(before)
        call(...args)
      }
    const replacer = openLocalReplacer(
      {
        ...libc,
        exchangeAt: dying('exchangeAt', libc.exchangeAt),
        renameNewAt: dying('renameNewAt', libc.renameNewAt),
        removeAt: dying('removeAt', libc.removeAt),
        renameAt: (from, to) => (dead ? killed() : libc.renameAt(from, to)),
        statAt: (folder, name) => {
          const status = libc.statAt(folder, name)
          // Killed before it could be looked at.
          if (before !== undefined && name.startsWith('.vml-aside')) dead = true
          return dead ? killed() : status
        },
      },
      { run: '0123456789abcdef', thread: 0 },
    )
    const temporary = leftoverName('0123456789abcdef', 'p0')
    assert.throws(() =>
      what === 'remove' ? replacer.remove(place, seen) : replacer.replace(place, temporary, seen),
    )
    assert.equal(stands(bench), standing)
    const writer = openLocalWriter({ libc, folders, owners: true, run: newRun(), thread: 0 })
    writer.sweep(bench.path('d'))
    const rest = bench
      .sh('ls -A d')
      .split('\n')
      .filter((name) => isOfRestore(name))
    assert.equal(rest.length, swept ? 0 : 1, `${what}, killed at ${killAt}: ${rest.join()}`)
    for (const name of rest)
      assert.equal(
        judgeLeftover(name, () => standingNow(libc.statAt(place.folder, asRaw(name)))),
        'set-aside',
      )
  }
})

test('what a restore that runs has in hand is not swept, what one that ended left is', () => {
  using bench = openBench()
  const libc = openLibc(tmpdir())
  assert.ok(libc)
  using folders = openLocalFolders(libc)
  const mine = newRun()
  const [random, , , place] = mine.split('-')
  const ended = `${random}-m1-0-${place}`
  bench.sh(
    `mkdir d; for n in ${leftoverName(mine, 'p0')} ${leftoverName(ended, 'p1')} ${leftoverName('0123456789abcdef', 'p2')}; do touch d/$n; done`,
  )
  openLocalWriter({ libc, folders, owners: true, run: newRun(), thread: 0 }).sweep(bench.path('d'))
  assert.equal(bench.sh('ls -A d'), `${leftoverName(mine, 'p0')}\n`)
  assert.ok(isOfRestore(baseName(bench.path(`d/${leftoverName(mine, '1000-4')}`))))
})
