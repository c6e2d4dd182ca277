import assert from 'node:assert/strict'
import {
  appendFileSync,
  closeSync,
  existsSync,
  lstatSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { cutOffAtFirstStep, openBench, pathOf, plain } from '../../test/commit-bench.ts'
import { watchedDisk } from '../../test/stage-commit-disk.ts'
import { changesBetween, describeTree, readTree, sh, testLibc } from '../../test/stage-commit-tree.ts'
import { isFailure, VmlError } from '../base/failure.ts'
import { asRaw, rawFromString } from '../base/raw-text.ts'
import { commit, keptAt, prepareCommit, takeBack } from './commit.ts'
import { setTime } from './commit-step.ts'
import { forgetJournal } from './forget-journal.ts'
import { readJournal } from './journal.ts'
import { recover } from './recover.ts'

const libc = testLibc()

test('a commit that fails at any of its calls has changed nothing, and leaves nothing', () => {
  const codes = new Map<string, number>()
  let calls = 0
  for (let failAt = 1; ; failAt++) {
    using bench = openBench()
    let count = 0
    const disk = watchedDisk(plain, (call) => {
      if (++count === failAt) throw Object.assign(new Error(`ENOSPC, ${call}`), { code: 'ENOSPC' })
    })
    try {
      bench.run(disk)
      calls = count
      break
    } catch (error) {
      assert.ok(error instanceof VmlError, String(error))
      codes.set(error.code, (codes.get(error.code) ?? 0) + 1)
      assert.match(error.message, /no space left on device; nothing was changed/)
    }
    assert.equal(bench.now(), 'before', `call ${failAt}`)
    assert.ok(!existsSync(bench.journal), `call ${failAt}`)
  }
  assert.ok(calls > 35, `${calls} calls`)
  assert.deepEqual([...codes], [['unavailable.space', calls]])
})

test('what was kept of a commit lies at its place until it is forgotten, also of what was in a folder', () => {
  using bench = openBench()
  const journal = bench.run(plain)
  assert.equal(bench.now(), 'after')
  const read = (path: string) => {
    const kept = keptAt(journal, pathOf(path))
    return kept === undefined ? undefined : readFileSync(Buffer.from(kept, 'latin1'), 'utf8')
  }
  assert.equal(read('/changed'), 'old\n')
  assert.equal(read('/gone/deep/file'), 'deep\n')
  assert.equal(read('/file-to-folder'), 'file\n')
  assert.equal(read('/folder-to-file/in'), 'in\n')
  assert.equal(keptAt(journal, pathOf('/new')), undefined)
  assert.equal(keptAt(journal, pathOf('/stays')), undefined)
  forgetJournal(plain, journal)
  assert.equal(bench.now(), 'after')
  assert.ok(!existsSync(bench.journal))
})

test('what was taken back lies prepared again, and can be committed again', () => {
  using bench = openBench()
  const journal = bench.run(plain)
  takeBack(plain, journal)
  assert.equal(bench.now(), 'before')
  forgetJournal(plain, journal)
  bench.run(plain)
  assert.equal(bench.now('no folder times'), 'after')
})

for (const { title, change } of [
  { title: 'a file got other content', change: 'echo other >changed' },
  {
    title: 'a file got other content of the same length and time',
    change: 'touch -r changed t; echo OLD >changed; touch -r t changed; rm t',
  },
  { title: 'a file became a link', change: 'rm changed; ln -s elsewhere changed' },
  { title: 'a file got other rights', change: 'chmod 600 changed' },
  { title: 'something came where something new goes', change: 'echo x >new' },
  { title: 'something came into a folder that goes', change: 'echo x >gone/deep/more' },
  { title: 'something went that goes', change: 'rm gone/deep/file' },
  { title: 'a folder got other rights', change: 'chmod 711 stays' },
  { title: 'a link was led elsewhere', change: 'ln -sfn elsewhere link' },
])
  test(`nothing is committed, and all stays, when since the staging ${title}`, () => {
    using bench = openBench()
    const prepared = bench.prepare(plain)
    sh(change, bench.root)
    const now = describeTree(readTree(libc, bench.root))
    assert.throws(
      () => commit(plain, prepared),
      (error) => isFailure(error, 'conflict'),
    )
    assert.deepEqual(describeTree(readTree(libc, bench.root)), now)
    assert.ok(!existsSync(bench.journal))
  })

test('what replaces a file between its check and its rename stays, and all else is taken back', () => {
  using bench = openBench()
  const prepared = bench.prepare(plain)
  let done = false
  const disk = watchedDisk(plain, (call, [from]) => {
    // The first rename of a prepared thing: all checks and links were before it.
    if (done || call !== 'renameNew' || !String(from).includes('/after/')) return
    done = true
    sh('echo newer >n; mv n changed', bench.root)
  })
  assert.throws(
    () => commit(disk, prepared),
    (error) => isFailure(error, 'conflict'),
  )
  assert.equal(readFileSync(join(bench.root, 'changed'), 'utf8'), 'newer\n')
  sh('touch -r ../before/changed changed; echo old >changed; touch -r ../before/changed changed', bench.root)
  assert.equal(bench.now('no folder times'), 'before')
})

for (const { change, path, content } of [
  { change: 'echo mine >gone/deep/mine', path: 'gone/deep/mine', content: 'mine\n' },
  {
    change: 'mkdir folder-to-file/own; echo mine >folder-to-file/own/f',
    path: 'folder-to-file/own/f',
    content: 'mine\n',
  },
  { change: 'echo mine >>gone/deep/file', path: 'gone/deep/file', content: 'deep\nmine\n' },
])
  test(`what is written to ${path}, in a folder that goes, while all is committed, stays, and all else is taken back`, () => {
    using bench = openBench()
    const prepared = bench.prepare(plain)
    const disk = watchedDisk(plain, (call, [from]) => {
      if (call === 'rename' && String(from).endsWith('/state.COMMITTING')) sh(change, bench.root)
    })
    assert.throws(
      () => commit(disk, prepared),
      (error) => isFailure(error, 'conflict') && /it has changed meanwhile; nothing was/.test(error.message),
    )
    assert.equal(readFileSync(join(bench.root, path), 'utf8'), content)
    assert.equal(readFileSync(join(bench.root, 'changed'), 'utf8'), 'old\n')
    assert.ok(!existsSync(bench.journal))
  })

test('what came into a folder that goes after a commit was cut off stays, and the recovery takes the commit back', () => {
  using bench = openBench()
  const prepared = bench.prepare(plain)
  cutOffAtFirstStep(prepared)
  writeFileSync(join(bench.root, 'gone/deep/mine'), 'mine')
  assert.equal(recover(plain, rawFromString(bench.journal)).did, 'taken back')
  assert.equal(readFileSync(join(bench.root, 'gone/deep/mine'), 'utf8'), 'mine')
  rmSync(join(bench.root, 'gone/deep/mine'))
  assert.equal(bench.now('no folder times'), 'before')
})

test('a folder that somebody removed since has no time to be set', () => {
  using bench = openBench()
  for (const path of ['/none', '/changed', '/changed/below'])
    setTime(plain, rawFromString(bench.root), { path: pathOf(path), beforeNs: 1n }, 'before')
  assert.notEqual(lstatSync(join(bench.root, 'changed')).mtimeMs, 0)
})

test('what came into a folder that is gone, through a process that still had it open, has its own path before the rest is removed', () => {
  for (const way of ['at once', 'after recover.sh', 'cut off']) {
    using bench = openBench()
    const prepared = bench.prepare(plain)
    if (way === 'after recover.sh') {
      cutOffAtFirstStep(prepared)
      sh('sh journal/recover.sh', bench.folder)
    } else commit(plain, prepared)
    const kept = keptAt(prepared.journal, pathOf('/gone/deep'))
    assert.ok(kept !== undefined)
    writeFileSync(join(kept, 'mine'), 'mine')
    if (way === 'cut off') {
      const disk = watchedDisk(plain, (call) => {
        if (call === 'remove') throw new Error('Killed')
      })
      assert.throws(() => forgetJournal(disk, prepared.journal), /Killed/)
      writeFileSync(join(kept, 'late'), 'late')
      assert.equal(recover(plain, rawFromString(bench.journal)).did, 'discarded')
      assert.equal(readFileSync(join(bench.root, 'gone/deep/late'), 'utf8'), 'late')
    } else {
      const { journal } = recover(plain, rawFromString(bench.journal))
      assert.ok(journal)
      assert.deepEqual(forgetJournal(plain, journal), ['/gone/deep/mine'])
    }
    assert.equal(readFileSync(join(bench.root, 'gone/deep/mine'), 'utf8'), 'mine')
    rmSync(join(bench.root, 'gone'), { recursive: true })
    assert.equal(bench.now('no folder times'), 'after')
    assert.ok(!existsSync(bench.journal))
  }
})

for (const shell of ['dash', 'bash', 'busybox sh'])
  test(`recover.sh does not end a commit where something came into a folder that goes, and takes it back (${shell})`, () => {
    using bench = openBench()
    const prepared = bench.prepare(plain)
    cutOffAtFirstStep(prepared)
    writeFileSync(join(bench.root, 'gone/deep/new\nline'), 'mine')
    assert.throws(
      () => sh(`${shell} journal/recover.sh`, bench.folder),
      /Something came into a folder that goes, .*--backward takes/,
    )
    sh(`${shell} journal/recover.sh --backward`, bench.folder)
    assert.equal(readFileSync(join(bench.root, 'gone/deep/new\nline'), 'utf8'), 'mine')
    assert.equal(recover(plain, rawFromString(bench.journal)).did, 'discarded')
    rmSync(join(bench.root, 'gone/deep/new\nline'))
    assert.notEqual(bench.now('no folder times'), 'after')
    assert.equal(readFileSync(join(bench.root, 'changed'), 'utf8'), 'old\n')
  })

test('what a program that still has it open writes into a file that is replaced or gone has a path before the rest is removed (G14)', () => {
  const written = {
    '/changed': '/changed.mine',
    '/twin': undefined,
    '/file-to-folder': '/file-to-folder.mine',
    '/-odd\nname': '/-odd\nname',
  }
  for (const way of ['at once', 'cut off', 'taken back']) {
    using bench = openBench()
    const prepared = bench.prepare(plain)
    commit(plain, prepared)
    if (way === 'taken back') {
      const file = openSync(join(bench.root, 'changed'), 'a')
      takeBack(plain, prepared.journal)
      writeSync(file, 'mine')
      closeSync(file)
      assert.deepEqual(forgetJournal(plain, prepared.journal), ['/changed.mine'])
      assert.equal(readFileSync(join(bench.root, 'changed.mine'), 'utf8'), 'changed\nmine')
      continue
    }
    const write = () => {
      for (const path of Object.keys(written))
        appendFileSync(keptAt(prepared.journal, pathOf(path)) ?? '', 'mine')
    }
    if (way === 'at once') write()
    const disk = watchedDisk(plain, (call) => {
      if (call === 'remove' && way === 'cut off') throw new Error('Killed')
    })
    if (way === 'cut off') {
      assert.throws(() => forgetJournal(disk, prepared.journal), /Killed/)
      write()
      assert.equal(recover(plain, rawFromString(bench.journal)).did, 'discarded')
    } else
      assert.deepEqual(
        new Set(forgetJournal(plain, prepared.journal)),
        new Set(Object.values(written).filter((path) => path !== undefined)),
      )
    for (const path of Object.values(written)) {
      if (path === undefined) continue
      assert.match(readFileSync(join(bench.root, path), 'utf8'), /^(?:old|file|-)\nmine$/)
      rmSync(join(bench.root, path))
    }
    assert.match(readFileSync(join(bench.root, 'stays/twin'), 'utf8'), /^twin\nmine$/)
    writeFileSync(join(bench.root, 'stays/twin'), 'twin\n')
    assert.ok(!existsSync(bench.journal))
  }
})

test('what came into a folder that is gone, and whose path is taken, is put beside it', () => {
  using bench = openBench()
  const journal = bench.run(plain)
  const kept = keptAt(journal, pathOf('/folder-to-file'))
  assert.ok(kept !== undefined)
  writeFileSync(join(kept, 'mine'), 'mine')
  assert.deepEqual(forgetJournal(plain, journal), ['/folder-to-file.mine/mine'])
  assert.equal(readFileSync(join(bench.root, 'folder-to-file.mine/mine'), 'utf8'), 'mine')
  rmSync(join(bench.root, 'folder-to-file.mine'), { recursive: true })
  assert.equal(bench.now('no folder times'), 'after')
  assert.ok(!existsSync(bench.journal))
})

for (const way of ['vml', 'recover.sh'])
  test(`what came into a folder that a commit made stays when that is taken back by ${way}`, () => {
    using bench = openBench()
    const journal = bench.run(plain)
    for (const path of ['new-folder/deep/mine', 'file-to-folder/in/mine'])
      writeFileSync(join(bench.root, path), 'mine')
    // The other one has its place taken by the file that is back.
    const left = ['new-folder/deep/mine', 'file-to-folder.mine/in/mine']
    if (way === 'vml')
      assert.deepEqual(
        new Set(takeBack(plain, journal).map(({ path }) => path)),
        new Set(left.map((path) => `/${path}`)),
      )
    else sh('sh journal/recover.sh --backward', bench.folder)
    recover(plain, rawFromString(bench.journal))
    for (const path of left) {
      assert.equal(readFileSync(join(bench.root, path), 'utf8'), 'mine')
      rmSync(join(bench.root, path.split('/')[0] ?? ''), { recursive: true })
    }
    assert.equal(bench.now('no folder times'), 'before')
    assert.ok(!existsSync(bench.journal))
  })

test('a journal whose steps are damaged is not guessed at, and says how to end it', () => {
  using bench = openBench()
  const { journal } = bench.prepare(plain)
  const file = join(bench.journal, 'steps')
  const bytes = readFileSync(file)
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1
  writeFileSync(file, bytes)
  assert.throws(
    () => readJournal(journal.folder),
    (error) => isFailure(error, 'integrity.format') && /recover\.sh/.test(error.hint ?? ''),
  )
})

test('a second commit does not begin while the journal of another one is there, and recovery discards what was only prepared', () => {
  using bench = openBench()
  bench.prepare(plain)
  assert.throws(
    () => bench.prepare(plain),
    (error) => isFailure(error, 'exists'),
  )
  assert.deepEqual(recover(plain, rawFromString(bench.journal)), { found: 'PREPARED', did: 'discarded' })
  assert.deepEqual(recover(plain, rawFromString(bench.journal)), { found: 'nothing', did: 'nothing' })
  assert.equal(bench.now(), 'before')
})

test('what is prepared must be what the change says', () => {
  using bench = openBench()
  sh('echo longer than it was >changed', join(bench.folder, 'after'))
  assert.throws(
    () => bench.prepare(plain),
    (error) => isFailure(error, 'proof'),
  )
  assert.ok(!existsSync(bench.journal))
})

test('two paths that have one thing prepared become two names of it', () => {
  using bench = openBench()
  const { root } = bench
  const changes = bench.changes.filter(({ path }) => path === '/changed' || path === '/new')
  const [one, two] = changes
  assert.ok(one?.after && two)
  const shared = [one, { ...two, after: one.after }]
  const from = asRaw(`${rawFromString(join(bench.folder, 'after'))}/changed`)
  commit(
    plain,
    prepareCommit(plain, {
      root: rawFromString(root),
      folder: rawFromString(bench.journal),
      changes: shared,
      prepared: () => from,
      folderMtimeNs: () => undefined,
    }),
  )
  const names = readTree(libc, root).get(pathOf('/new'))?.names
  assert.equal(names, '/changed\n/new')
})

test('a recovery does nothing while a file system that has something of the commit is not mounted', () => {
  for (const direction of [undefined, 'backward'] as const) {
    using bench = openBench()
    const prepared = bench.prepare(plain)
    cutOffAtFirstStep(prepared)
    const now = describeTree(readTree(libc, bench.root))
    renameSync(join(bench.journal, 'keep'), join(bench.journal, 'away'))
    assert.throws(
      () => recover(plain, rawFromString(bench.journal), direction),
      (error) => isFailure(error, 'conflict') && /Mount the file system/.test(error.hint ?? ''),
    )
    assert.deepEqual(describeTree(readTree(libc, bench.root)), now)
    renameSync(join(bench.journal, 'away'), join(bench.journal, 'keep'))
    assert.equal(recover(plain, rawFromString(bench.journal), direction).found, 'COMMITTING')
    assert.equal(bench.now('no folder times'), direction === undefined ? 'after' : 'before')
  }
})

test('a folder on the way that its owner swaps for a link between the check and a step leads nowhere', () => {
  for (const call of ['renameNew', 'rename', 'setOwner'] as const) {
    using bench = openBench()
    const { folder, root } = bench
    sh(
      `mkdir -p root/home/a/d/in root/etc/d/in; echo 1 >root/home/a/d/f; ln root/home/a/d/f root/etc/d/f
      chown 1234 root/home; cp -a root/home root/etc after`,
      folder,
    )
    const change = { renameNew: 'echo n >n', rename: 'echo 2 >f', setOwner: 'chown 1234 in' }[call]
    sh(change, join(folder, 'after/home/a/d'))
    const changes = changesBetween(readTree(libc, root), readTree(libc, join(folder, 'after'))).filter(
      ({ path }) => path.startsWith('/home/a/d/'),
    )
    assert.equal(changes.length, 1)
    const prepared = bench.prepare(plain, changes)
    const etc = () => JSON.stringify(describeTree(readTree(libc, join(root, 'etc'))))
    const before = etc()
    let isSwapped = false
    const disk = watchedDisk(plain, (made, [from, to]) => {
      if (isSwapped || made !== call || ![from, to].some((each) => String(each).includes('/root/home/')))
        return
      isSwapped = true
      sh('mv home/a home/x; ln -s ../etc home/a', root)
    })
    assert.throws(() => commit(disk, prepared))
    assert.ok(isSwapped)
    assert.equal(etc(), before, call)
  }
})

for (const only of ['/folder-to-file', '/file-to-folder'])
  test(`${only.slice(1)} alone, the last path of a commit, is committed and can be taken back`, () => {
    using bench = openBench()
    const changes = bench.changes.filter(({ path }) => path === only || path.startsWith(`${only}/`))
    const prepared = bench.prepare(plain, changes)
    const before = bench.now()
    commit(plain, prepared)
    assert.notEqual(bench.now(), before)
    takeBack(plain, prepared.journal)
    assert.equal(bench.now(), before)
  })
