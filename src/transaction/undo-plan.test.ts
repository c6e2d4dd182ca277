import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isRawName, parentPath, parseRawPath, type RawName, type RawPath } from '../model/raw-path.ts'
import { rawFromString } from '../base/raw-text.ts'
import type { EntryId, SnapshotId, TreeId } from '../model/ids.ts'
import { type Fingerprint, type RecordedChange, sameState } from '../model/transaction.ts'
import type { TransactionDocument } from '../model/transaction-record.ts'
import { type ReadTransaction, sha256Of } from './transaction-entry.ts'
import type { MergeSides } from '../model/merge-outcome.ts'
import { planUndoPaths, type UndoPaths, type UndoView } from './undo-plan.ts'

// A machine in memory: each path is a folder or the lines of a file. What a transaction did is told by comparing.
type Content = string
type Files = ReadonlyMap<RawPath, Content>

const at = (text: string): RawPath => {
  const path = parseRawPath(rawFromString(text))
  assert.ok(path !== undefined)
  return path
}

function fingerprintOf(content: Content | undefined): Fingerprint | undefined {
  if (content === undefined) return undefined
  const owner = { uid: 0, gid: 0, mtimeNs: 0n }
  if (content === 'folder') return { ...owner, type: 'dir', mode: 0o755 }
  const bytes = Buffer.from(content)
  return { ...owner, type: 'file', mode: 0o644, size: bytes.length, sha256: sha256Of(bytes) }
}

interface Told extends ReadTransaction {
  readonly was: Files
  readonly became: Files
}

let made = 0
function transactionOf(was: Files, became: Files): Told {
  const changes = [...new Set([...was.keys(), ...became.keys()])]
    .toSorted()
    .flatMap((path): RecordedChange[] => {
      const [before, after] = [fingerprintOf(was.get(path)), fingerprintOf(became.get(path))]
      if (sameState(before, after)) return []
      return [
        {
          path,
          ...(before ? { before } : {}),
          ...(after ? { after } : {}),
          owner: { kind: 'script' },
          preImage: { kind: before?.type === 'file' ? 'blob' : 'fingerprint' },
          afterKept: true,
        },
      ]
    })
  const id = String(++made).padStart(64, '0')
  const entry: ReadTransaction['entry'] = {
    id: id as EntryId,
    snapshot: {
      id: id as SnapshotId,
      time: '',
      tree: id as TreeId,
      paths: [],
      hostname: '',
      username: '',
      tags: [],
    },
    number: made,
    machine: 'lab',
    kind: 'transaction',
    tags: [],
    title: '',
    note: '',
    takenAt: new Date(0),
    facts: undefined,
    twins: [],
  }
  return { entry, document: {} as TransactionDocument, changes, was, became }
}

function viewOf(files: Files): UndoView {
  const text = (content: Content | undefined): Buffer => {
    assert.ok(content !== undefined && content !== 'folder')
    return Buffer.from(content)
  }
  return {
    now: (path) => fingerprintOf(files.get(path)),
    contentNow: (path) => text(files.get(path)),
    names: (folder) => namesIn(files, folder),
    listedByOthers: () => false,
    isRegenerated: () => false,
    isRegeneratedWhenChanged: () => false,
    dataFolder: (path) => (path.startsWith('/data/') ? at('/data') : undefined),
    contentBefore: (transaction, { path }) => Promise.resolve(text((transaction as Told).was.get(path))),
    contentAfter: (transaction, { path }) => Promise.resolve(text((transaction as Told).became.get(path))),
    merge: mergeLines,
    mergeAttributes: ({ ours }) => ours,
  }
}

function namesIn(files: Files, folder: RawPath): RawName[] {
  return [...files.keys()].flatMap((path) => {
    const name = path.slice(path.lastIndexOf('/') + 1)
    return path !== '/' && parentPath(path) === folder && isRawName(name) ? [name] : []
  })
}

/** Each line is a key of its own: a set of lines, merged as one. */
function mergeLines(_path: RawPath, { base, ours, theirs }: MergeSides<Buffer>) {
  const set = (side: Buffer | undefined) => new Set(side?.toString().split('\n').filter(Boolean))
  const [b, o, t] = [set(base), set(ours), set(theirs)]
  const lines = [...new Set([...o, ...t])].filter((line) =>
    o.has(line) === b.has(line) ? t.has(line) : o.has(line),
  )
  return { kind: 'merged' as const, bytes: Buffer.from(lines.toSorted().join('\n')) }
}

async function apply(files: Files, plan: UndoPaths): Promise<Files> {
  const result = new Map(files)
  for (const { path, wanted, content } of plan.paths) {
    if (wanted === undefined) result.delete(path)
    else if (wanted.type === 'dir') result.set(path, 'folder')
    else if (content?.kind === 'bytes') result.set(path, content.bytes.toString())
    else if (content)
      result.set(path, (content.transaction as Told).was.get(content.change.path) ?? 'missing')
    assert.ok(sameState(fingerprintOf(result.get(path)), wanted), `${path} is not what the plan says`)
  }
  return result
}

const all = { data: false, stays: () => false }
const undo = async (files: Files, transactions: readonly Told[]) =>
  await planUndoPaths(viewOf(files), { ...all, transactions })

const folders = ['/a', '/a/b', '/c'].map(at)
const names = ['/x', '/a/x', '/a/y', '/a/b/x', '/c/x'].map(at)
const step = fc.record({
  path: fc.constantFrom(...names, ...folders),
  lines: fc.option(fc.subarray(['1', '2', '3', '4']), { nil: undefined }),
})

/** Changes a path so that the tree stays one: parents are made, a folder goes with what is in it. */
function change(
  files: Files,
  { path, lines }: { path: RawPath; lines: readonly string[] | undefined },
): Files {
  const result = new Map(files)
  if (lines === undefined) {
    for (const each of files.keys()) if (each === path || each.startsWith(`${path}/`)) result.delete(each)
    return result
  }
  for (let folder = parentPath(path); folder !== '/'; folder = parentPath(folder))
    result.set(folder, 'folder')
  if (folders.includes(path)) result.set(path, 'folder')
  else result.set(path, [...lines].toSorted().join('\n'))
  return result
}

const history = fc.array(fc.array(step, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 5 })

function play(steps: readonly (readonly { path: RawPath; lines: string[] | undefined }[])[]) {
  let files: Files = new Map()
  const transactions = steps.map((changes) => {
    const became = changes.reduce(change, files)
    const transaction = transactionOf(files, became)
    files = became
    return transaction
  })
  return { files, transactions }
}

test('undoing the last transaction gives exactly what was there before it (I3)', async () => {
  await fc.assert(
    fc.asyncProperty(history, async (steps) => {
      const { files, transactions } = play(steps)
      const last = transactions.at(-1)
      assert.ok(last)
      const plan = await undo(files, [last])
      assert.deepEqual(plan.conflicts, [])
      assert.deepEqual(await apply(files, plan), last.was)
    }),
    { numRuns: 300 },
  )
})

test('all transactions undone in one plan, newest first, leave nothing of them', async () => {
  await fc.assert(
    fc.asyncProperty(history, async (steps) => {
      const { files, transactions } = play(steps)
      const result = await apply(files, await undo(files, transactions.toReversed()))
      assert.deepEqual([...result.keys()], [])
    }),
    { numRuns: 300 },
  )
})

test('undoing one in the middle changes no path that it did not change, and a path that was not touched since exactly', async () => {
  await fc.assert(
    fc.asyncProperty(history, fc.nat(), async (steps, pick) => {
      const { files, transactions } = play(steps)
      const chosen = transactions[pick % transactions.length]
      assert.ok(chosen)
      const plan = await undo(files, [chosen])
      const result = await apply(files, plan)
      const own = new Map(chosen.changes.map((each) => [each.path, each]))
      for (const path of new Set([...files.keys(), ...result.keys()])) {
        const known = own.get(path)
        if (!known) assert.equal(result.get(path), files.get(path), `${path} is none of its paths`)
        else if (
          sameState(fingerprintOf(files.get(path)), known.after) &&
          known.before?.type !== 'dir' &&
          known.after?.type !== 'dir'
        )
          assert.ok(sameState(fingerprintOf(result.get(path)), known.before), path)
      }
    }),
    { numRuns: 300 },
  )
})

test('the undo of an undo brings back what was there, when nothing happened in between (I5)', async () => {
  await fc.assert(
    fc.asyncProperty(history, fc.nat(), async (steps, pick) => {
      const { files, transactions } = play(steps)
      const chosen = transactions[pick % transactions.length]
      assert.ok(chosen)
      const undone = await apply(files, await undo(files, [chosen]))
      const redone = await apply(undone, await undo(undone, [transactionOf(files, undone)]))
      assert.deepEqual(redone, files)
    }),
    { numRuns: 300 },
  )
})

test('a line that a later transaction added stays, the line of the one that is undone goes', async () => {
  const first: Files = new Map([
    [at('/etc'), 'folder'],
    [at('/etc/hosts'), '1'],
  ])
  const second: Files = new Map([...first, [at('/etc/hosts'), '1\n2']])
  const third: Files = new Map([...first, [at('/etc/hosts'), '1\n2\n3']])
  const chosen = transactionOf(first, second)
  const plan = await undo(third, [chosen])
  assert.equal((await apply(third, plan)).get(at('/etc/hosts')), '1\n3')
  assert.deepEqual(
    plan.paths.map(({ how }) => how),
    ['merged'],
  )
})

test('a folder that the transaction made stays while something of later lies in it', async () => {
  const made: Files = new Map([
    [at('/a'), 'folder'],
    [at('/a/x'), '1'],
  ])
  const later: Files = new Map([...made, [at('/a/mine'), 'kept']])
  const plan = await undo(later, [transactionOf(new Map(), made)])
  assert.deepEqual(
    await apply(later, plan),
    new Map<RawPath, Content>([
      [at('/a'), 'folder'],
      [at('/a/mine'), 'kept'],
    ]),
  )
  assert.deepEqual(plan.kept, [{ path: at('/a'), why: 'folder in use' }])
})

test('a folder that was made of a file becomes that again only where nothing of later lies in it', async () => {
  const was: Files = new Map([[at('/x'), '1']])
  const made: Files = new Map([
    [at('/x'), 'folder'],
    [at('/x/y'), '2'],
  ])
  const transaction = transactionOf(was, made)
  assert.deepEqual(await apply(made, await undo(made, [transaction])), was)
  // It was a package's file: that the package lists it is no reason to keep the folder.
  const empty: Files = new Map([[at('/x'), 'folder']])
  const listed = { ...viewOf(empty), listedByOthers: () => true }
  const back = await planUndoPaths(listed, { ...all, transactions: [transactionOf(was, empty)] })
  assert.deepEqual(await apply(empty, back), was)
  const later: Files = new Map([...made, [at('/x/mine'), 'kept']])
  const plan = await undo(later, [transaction])
  assert.deepEqual(
    plan.conflicts.map(({ path, reason }) => [path, reason]),
    [[at('/x'), 'it is a folder in which other things lie now, before it was a file']],
  )
  assert.deepEqual(
    await apply(later, plan),
    new Map<RawPath, Content>([
      [at('/x'), 'folder'],
      [at('/x/mine'), 'kept'],
    ]),
  )
})

test('what of a script cannot be had stays and is told, the rest comes back; of a package it is not passed over', async () => {
  const was: Files = new Map([
    [at('/x'), '1'],
    [at('/y'), '1'],
  ])
  const became: Files = new Map([
    [at('/x'), '2'],
    [at('/y'), '2'],
  ])
  const told = transactionOf(was, became)
  const lostBy = (owner: RecordedChange['owner']): Told => ({
    ...told,
    changes: told.changes.map((change) =>
      change.path === at('/x') ? { ...change, owner, preImage: { kind: 'lost', reason: 'gone' } } : change,
    ),
  })
  const plan = await undo(became, [lostBy({ kind: 'script' })])
  assert.deepEqual(
    [plan.paths.map(({ path }) => path), plan.conflicts.map(({ path }) => path)],
    [[at('/y')], [at('/x')]],
  )
  const whole = await undo(became, [lostBy({ kind: 'package', package: 'x' })])
  assert.deepEqual(
    whole.paths.map(({ path }) => path),
    [at('/x'), at('/y')],
  )
})

test('data of a service in which anything was changed since stays whole, unless it is asked for', async () => {
  const was: Files = new Map()
  const made: Files = new Map([
    [at('/data'), 'folder'],
    [at('/data/one'), '1'],
    [at('/data/two'), '2'],
  ])
  const used: Files = new Map([...made, [at('/data/one'), '1\n3']])
  const transaction = transactionOf(was, made)
  assert.deepEqual(await apply(used, await undo(used, [transaction])), used)
  const asked = await planUndoPaths(viewOf(used), { ...all, data: true, transactions: [transaction] })
  assert.deepEqual(await apply(used, asked), was)
  assert.deepEqual(asked.conflicts, [])
  assert.deepEqual(await apply(made, await undo(made, [transaction])), was)
})

test('a file that became a folder since is a conflict, and stays', async () => {
  const was: Files = new Map([[at('/x'), '1']])
  const changed: Files = new Map([[at('/x'), '2']])
  const now: Files = new Map([[at('/x'), 'folder']])
  const plan = await undo(now, [transactionOf(was, changed)])
  assert.deepEqual(plan.paths, [])
  assert.deepEqual(
    plan.conflicts.map(({ path }) => path),
    [at('/x')],
  )
  assert.equal(plan.conflicts[0]?.old?.kind, 'before')
})

test('what was to be made anew, and cannot be any more, stays and is told', async () => {
  const was: Files = new Map([[at('/x'), '1']])
  const changed: Files = new Map([[at('/x'), '2']])
  const transaction = transactionOf(was, changed)
  const changes = transaction.changes.map((each): RecordedChange => ({
    ...each,
    preImage: { kind: 'regenerable', rule: 'x' },
  }))
  const plan = async (files: Files, serves: boolean) =>
    await planUndoPaths(
      { ...viewOf(files), isRegenerated: () => serves },
      { ...all, transactions: [{ ...transaction, changes }] },
    )
  assert.deepEqual((await plan(changed, true)).regenerated, [at('/x')])
  const told = await plan(changed, false)
  assert.deepEqual([told.paths, told.conflicts.map(({ path }) => path)], [[], [at('/x')]])
  assert.deepEqual((await plan(new Map(), false)).kept, [{ path: at('/x'), why: 'gone since' }])
  assert.equal((await plan(was, true)).already, 1)
})
