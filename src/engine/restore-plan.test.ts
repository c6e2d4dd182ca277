import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { VmlError } from '../base/failure.ts'
import { type RawText } from '../base/raw-text.ts'
import type { BlobId } from '../model/ids.ts'
import { baseName, isWithin, parentPath, type RawPath } from '../model/raw-path.ts'
import type { Attributes, NodeType, TreeNode } from '../model/tree.ts'
import {
  endangeredPaths,
  planRestore,
  type RestorePlan,
  type RestoreQuestion,
  type WantedPath,
} from './restore-plan.ts'
import { settleDoubts } from './restore-settle.ts'

const home = '/h' as RawPath

interface Thing {
  readonly type: NodeType
  readonly content?: string
  readonly mtime?: bigint
  readonly mode?: number
  readonly ctime?: bigint
  readonly inode?: bigint
  readonly links?: number
}

function attributesOf(thing: Thing): Attributes {
  return {
    type: thing.type,
    mode: thing.mode ?? 0o644,
    uid: 1,
    gid: 1,
    mtimeNs: thing.mtime ?? 5n,
    ...(thing.ctime === undefined ? {} : { ctimeNs: thing.ctime }),
    ...(thing.inode === undefined ? {} : { inode: thing.inode }),
    ...(thing.links === undefined ? {} : { links: thing.links }),
    ...(thing.type === 'file' ? { size: (thing.content ?? '').length } : {}),
    ...(thing.type === 'symlink' ? { linkTarget: (thing.content ?? 'x') as RawText } : {}),
  }
}

function wantedOf(things: Readonly<Record<string, Thing>>): WantedPath[] {
  return Object.keys(things)
    .sort()
    .map((key) => {
      const path = key as RawPath
      const thing = things[key] ?? { type: 'file' }
      const node: TreeNode = {
        ...attributesOf(thing),
        name: baseName(path),
        content: [(thing.content ?? '') as BlobId],
      }
      return { path, node }
    })
}

function presentOf(things: Readonly<Record<string, Thing>>): Map<RawPath, Attributes> {
  return new Map(Object.entries(things).map(([path, thing]) => [path as RawPath, attributesOf(thing)]))
}

function question(
  wanted: Readonly<Record<string, Thing>>,
  present: Readonly<Record<string, Thing>>,
  more: Partial<RestoreQuestion> = {},
): RestoreQuestion {
  return {
    wanted: wantedOf(wanted),
    present: presentOf(present),
    overwrite: 'always',
    remove: false,
    scope: [home],
    protectedBy: () => undefined,
    owners: true,
    timeResolutionNs: 1,
    sameMachine: false,
    settledBeforeNs: 1000n,
    attributesTold: false,
    linkTimes: false,
    ...more,
  }
}

const settle = (plan: RestorePlan) => settleDoubts(plan, new Set(plan.doubtful.map(({ path }) => path)))

test('without --delete nothing that the entry does not have is removed (V29)', () => {
  const plan = planRestore(
    question({ '/h': { type: 'dir' } }, { '/h': { type: 'dir' }, '/h/new': { type: 'file' } }),
  )
  assert.deepEqual(plan.removals, [])
  assert.equal(plan.counts.removed, 0)
})

test('with --delete what the entry does not have goes, deepest first, and the folder gets its time back', () => {
  const present: Record<string, Thing> = {
    '/h': { type: 'dir' },
    '/h/d': { type: 'dir' },
    '/h/d/x': { type: 'file' },
  }
  const plan = planRestore(question({ '/h': { type: 'dir' } }, present, { remove: true }))
  assert.deepEqual(
    plan.removals.map(({ path }) => path),
    ['/h/d/x', '/h/d'],
  )
  assert.deepEqual(
    plan.writes.map(({ path, reason }) => [path, reason]),
    [['/h', 'folder']],
  )
})

test('a protected path keeps its folder, and the rule is named', () => {
  const present: Record<string, Thing> = {
    '/h': { type: 'dir' },
    '/h/d': { type: 'dir' },
    '/h/d/x.o': { type: 'file' },
    '/h/d/y': { type: 'file' },
  }
  const protectedBy = (path: RawPath) => (path.endsWith('.o') ? '*.o' : undefined)
  const plan = planRestore(question({ '/h': { type: 'dir' } }, present, { remove: true, protectedBy }))
  assert.deepEqual(
    plan.removals.map(({ path }) => path),
    ['/h/d/y'],
  )
  assert.deepEqual(
    plan.kept.map(({ path }) => path),
    ['/h/d/x.o', '/h/d'],
  )
})

test('a folder that became a link is removed and written as a folder, never followed', () => {
  const wanted: Record<string, Thing> = {
    '/h': { type: 'dir' },
    '/h/d': { type: 'dir' },
    '/h/d/x': { type: 'file', content: 'a' },
  }
  const plan = planRestore(question(wanted, { '/h': { type: 'dir' }, '/h/d': { type: 'symlink' } }))
  assert.deepEqual(plan.removals, [{ path: '/h/d', why: 'type' }])
  assert.deepEqual(
    plan.writes.map(({ path }) => path),
    ['/h', '/h/d', '/h/d/x'],
  )
})

test('a folder with content in the way of a file is a conflict without --delete, and goes with it', () => {
  const wanted: Record<string, Thing> = { '/h': { type: 'dir' }, '/h/d': { type: 'symlink' } }
  const present: Record<string, Thing> = {
    '/h': { type: 'dir' },
    '/h/d': { type: 'dir' },
    '/h/d/x': { type: 'file' },
  }
  assert.throws(
    () => planRestore(question(wanted, present)),
    (error) => error instanceof VmlError && error.code === 'conflict',
  )
  const plan = planRestore(question(wanted, present, { remove: true }))
  assert.deepEqual(
    plan.removals.map(({ path }) => path),
    ['/h/d/x', '/h/d'],
  )
})

test('equal size and time is a doubt that only the content settles, unless ctime and inode prove it', () => {
  const file: Thing = { type: 'file', content: 'a', ctime: 9n, inode: 3n }
  const same = { '/h/f': file }
  const touched = { '/h/f': { ...file, ctime: 10n } }
  assert.equal(planRestore(question(same, same, { sameMachine: true })).counts.unchanged, 1)
  const doubt = planRestore(question(same, touched, { sameMachine: true }))
  assert.deepEqual(
    doubt.doubtful.map(({ path }) => path),
    ['/h/f'],
  )
  assert.equal(settle(doubt).counts.replaced, 1)
  assert.equal(settleDoubts(doubt, new Set()).counts.unchanged, 1)
  assert.equal(
    planRestore(question(same, touched, { sameMachine: true, overwrite: 'if-changed' })).doubtful.length,
    0,
  )
})

test('if-newer leaves a file that is not older than the entry, never leaves everything that is there', () => {
  const wanted: Record<string, Thing> = { '/h/f': { type: 'file', content: 'a', mtime: 5n } }
  const present: Record<string, Thing> = { '/h/f': { type: 'file', content: 'bb', mtime: 7n } }
  assert.equal(planRestore(question(wanted, present, { overwrite: 'if-newer' })).left.length, 1)
  assert.equal(planRestore(question(wanted, present, { overwrite: 'never' })).writes.length, 0)
  assert.equal(planRestore(question(wanted, present)).writes.length, 1)
})

test('names of one file are written together, the first with the content', () => {
  const link: Thing = { type: 'file', content: 'a', inode: 7n, links: 2 }
  const plan = planRestore(question({ '/h/a': link, '/h/b': link }, { '/h/b': { ...link, inode: 99n } }))
  assert.deepEqual(
    plan.writes.map(({ path, hardLinkTo }) => [path, hardLinkTo]),
    [
      ['/h/a', undefined],
      ['/h/b', '/h/a'],
    ],
  )
})

test('what was saved in the same tick of the clock as it changed is not proven by its ctime', () => {
  const file = { '/h/f': { type: 'file', content: 'a', ctime: 9n, inode: 3n } } as const
  assert.equal(
    planRestore(question(file, file, { sameMachine: true, settledBeforeNs: 9n })).doubtful.length,
    1,
  )
})

test('what stands where a folder was and may not be replaced keeps the folder and all below it away', () => {
  const wanted: Record<string, Thing> = {
    '/h': { type: 'dir' },
    '/h/d': { type: 'dir' },
    '/h/d/e': { type: 'dir' },
    '/h/d/e/x': { type: 'file', content: 'a' },
  }
  const present: Record<string, Thing> = { '/h': { type: 'dir' }, '/h/d': { type: 'symlink' } }
  const plan = planRestore(question(wanted, present, { overwrite: 'never' }))
  assert.deepEqual(plan.writes, [])
  assert.deepEqual(
    plan.left.map(({ path }) => path),
    ['/h/d', '/h/d/e', '/h/d/e/x'],
  )
})

test('a socket in the way is a conflict, with --delete too: no safety entry can hold it', () => {
  const wanted: Record<string, Thing> = { '/h': { type: 'dir' }, '/h/s': { type: 'file' } }
  const present: Record<string, Thing> = { '/h': { type: 'dir' }, '/h/s': { type: 'socket' } }
  const protectedBy = (_: RawPath, { type }: Attributes) => (type === 'socket' ? 'a socket' : undefined)
  for (const remove of [false, true])
    assert.throws(
      () => planRestore(question(wanted, present, { protectedBy, remove })),
      (error) => error instanceof VmlError && error.code === 'conflict',
    )
})

test('a folder of which only attributes differ is compared and written, though a doubtful file lies in it', () => {
  const wanted: Record<string, Thing> = { '/h': { type: 'dir' }, '/h/a': { type: 'file', content: 'a' } }
  const plan = planRestore(question(wanted, wanted, { attributesTold: true }))
  assert.deepEqual(
    plan.doubtful.map(({ path }) => path),
    ['/h', '/h/a'],
  )
  const differing = settleDoubts(plan, new Set([home]))
  assert.deepEqual(
    differing.writes.map(({ path, reason }) => [path, reason]),
    [['/h', 'content']],
  )
  assert.deepEqual([differing.counts.replaced, differing.counts.unchanged], [1, 1])
  const equal = settleDoubts(plan, new Set())
  assert.deepEqual(equal.writes, [])
  assert.equal(equal.counts.unchanged, 2)
})

test('a name that is written again for its link sake gives its folder the recorded time again', () => {
  const link: Thing = { type: 'file', content: 'a', inode: 7n, links: 2 }
  const wanted: Record<string, Thing> = {
    '/h': { type: 'dir' },
    '/h/a': link,
    '/h/d': { type: 'dir' },
    '/h/d/b': link,
  }
  const present: Record<string, Thing> = {
    '/h': { type: 'dir' },
    '/h/a': { ...link, mtime: 9n },
    '/h/d': { type: 'dir' },
    '/h/d/b': { ...link, inode: 8n },
  }
  const plan = settleDoubts(planRestore(question(wanted, present)), new Set())
  assert.deepEqual(
    plan.writes.map(({ path, reason }) => [path, reason]),
    [
      ['/h', 'folder'],
      ['/h/a', 'time'],
      ['/h/d', 'folder'],
      ['/h/d/b', 'link'],
    ],
  )
})

test('two files that became one since are told apart again', () => {
  const one: Thing = { type: 'file', content: 'a', inode: 7n, links: 1 }
  const two: Thing = { type: 'file', content: 'a', inode: 8n, links: 1 }
  const present = { '/h/a': { ...one, links: 2 }, '/h/b': { ...one, links: 2 } }
  const plan = planRestore(question({ '/h/a': one, '/h/b': two }, present))
  assert.deepEqual(
    plan.writes.map(({ path, hardLinkTo }) => [path, hardLinkTo]),
    [
      ['/h/a', undefined],
      ['/h/b', undefined],
    ],
  )
})

const things = fc.dictionary(
  fc.constantFrom('/h/a', '/h/b', '/h/a/x', '/h/a/y', '/h/b/x', '/h/a/x/deep'),
  fc.record({
    type: fc.constantFrom<NodeType>('file', 'dir', 'symlink'),
    content: fc.constantFrom('1', '2', '22'),
    mtime: fc.constantFrom(1n, 2n),
    mode: fc.constantFrom(0o644, 0o600),
  }),
)

/** Only paths whose parents are folders: what a file system can hold. */
function possible(wish: Readonly<Record<string, Thing>>): Record<string, Thing> {
  const result: Record<string, Thing> = { '/h': { type: 'dir' } }
  for (const path of Object.keys(wish).sort()) {
    const thing = wish[path]
    if (thing && result[parentPath(path as RawPath)]?.type === 'dir') result[path] = thing
  }
  return result
}

test('carried out on any machine, a plan with --delete makes exactly the entry and endangers nothing it did not name', () => {
  fc.assert(
    fc.property(things, things, (wantedWish, presentWish) => {
      const wanted = possible(wantedWish)
      const present = possible(presentWish)
      const asked = question(wanted, present, { remove: true })
      const plan = settle(planRestore(asked))
      const after = new Map<RawPath, Attributes>(asked.present)
      for (const { path } of plan.removals) {
        for (const other of after.keys())
          assert.ok(other === path || !isWithin(other, path), 'a folder goes only when empty')
        after.delete(path)
      }
      for (const { path, node } of plan.writes) {
        const parent = after.get(parentPath(path))
        assert.ok(path === home || parent?.type === 'dir', 'a parent is written before its children')
        const standing = after.get(path)
        assert.ok(!standing || standing.type === node.type, 'nothing of another type is written over')
        after.set(path, node)
      }
      assert.deepEqual([...after.keys()].sort(), Object.keys(wanted).sort())
      for (const { path, node } of asked.wanted) {
        const found = after.get(path)
        assert.equal(found?.type, node.type)
        assert.equal(found?.mode, node.type === 'symlink' ? found?.mode : node.mode)
        assert.equal(found?.size, node.size)
      }
      const safe = new Set(endangeredPaths(plan, asked.present))
      for (const { path } of [...plan.writes, ...plan.removals])
        assert.ok(!asked.present.has(path) || safe.has(path))
    }),
    { numRuns: 2000 },
  )
})
