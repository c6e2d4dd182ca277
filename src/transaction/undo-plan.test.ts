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
import {
  type MergeResult,
  planUndoPaths,
  requireParents,
  type UndoPaths,
  type UndoView,
} from './undo-plan.ts'

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
  return {
    entry,
    document: { startedAt: '2026-11-21T10:00:00.000Z' } as TransactionDocument,
    changes,
    was,
    became,
  }
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
    ownFolder: () => undefined,
    listedByOthers: () => false,
    isRegenerated: () => false,
    isLeftByItsRule: () => false,
    isRegeneratedWhenChanged: () => false,
    dataFolder: (path) => (path.startsWith('/data/') ? at('/data') : undefined),
    contentBefore: (transaction, { path }) => Promise.resolve(text((transaction as Told).was.get(path))),
    contentAfter: (transaction, { path }) => Promise.resolve(text((transaction as Told).became.get(path))),
    merge: mergeLines,
    mergeAttributes: ({ ours }) => ({ fingerprint: ours }),
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

function play(steps: readonly (readonly { path: RawPath; lines: readonly string[] | undefined }[])[]) {
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

test("what lies in VML's own folder now is left alone, and told once for the folder", async () => {
  const made: Files = new Map([
    [at('/etc/x'), '1'],
    [at('/backup'), 'folder'],
    [at('/backup/vml'), 'folder'],
    [at('/backup/vml/snapshot'), '1'],
  ])
  const view: UndoView = {
    ...viewOf(made),
    ownFolder: (path) =>
      path.startsWith('/backup/vml') ? { path: at('/backup/vml'), what: 'state' } : undefined,
  }
  const plan = await planUndoPaths(view, {
    transactions: [transactionOf(new Map(), made)],
    data: false,
    stays: () => false,
  })
  assert.deepEqual(
    plan.paths.map(({ path }) => path),
    ['/etc/x'],
  )
  assert.deepEqual(plan.kept, [{ path: at('/backup'), why: 'folder in use' }])
  assert.deepEqual(
    plan.conflicts.map(({ path, reason }) => [path, reason]),
    [['/backup/vml', "it is VML's own, with all records in it: 2 paths left alone"]],
  )
})

test('of a logbook nothing goes and nothing changes, since later snapshots may stand on it; what was removed comes back', async () => {
  const was: Files = new Map([[at('/r/removed'), '1']])
  const became: Files = new Map([[at('/r/brought'), '1']])
  const plan = await planUndoPaths(logbookView(became, 'its id'), {
    transactions: [transactionOf(was, became)],
    data: false,
    stays: () => false,
  })
  assert.deepEqual(
    plan.paths.map(({ path, wanted }) => [path, wanted !== undefined]),
    [['/r/removed', true]],
  )
  assert.match(plan.conflicts[0]?.reason ?? '', /^it is a logbook.* whole: 1 path left alone$/)
})

test('nothing of a logbook that was removed comes back into another one that was begun at its place since', async () => {
  const config = at('/r/config')
  const files: Files = new Map([[at('/r/keys/old'), 'key']])
  const whole: Files = new Map([...files, [config, 'its id']])
  const planned = async (was: Files, view: UndoView, became: Files = new Map()) =>
    await planUndoPaths(view, {
      transactions: [transactionOf(was, became)],
      data: false,
      stays: () => false,
    })
  const other = await planned(whole, logbookView(new Map([[config, 'other']]), 'other'))
  assert.deepEqual(other.paths, [])
  assert.match(other.conflicts[0]?.reason ?? '', /^it is a logbook.* may be another .*: 2 paths left alone$/)
  // What it brought is gone already.
  assert.deepEqual((await planned(new Map(), logbookView(new Map(), 'other'), files)).conflicts, [])
  // Put back by hand, it is the same one, whenever that was.
  const same = logbookView(new Map(), 'its id', later)
  assert.deepEqual(
    (await planned(whole, same)).paths.map(({ path }) => path),
    ['/r/keys/old'],
  )
  // The transaction did not touch it, but somebody did since.
  assert.deepEqual((await planned(files, same)).paths, [])
  assert.equal((await planned(files, logbookView(new Map(), 'its id'))).paths.length, 1)
  // Of a state folder, it lies in its logbook.
  const state: UndoView = {
    ...logbookView(new Map(), 'its id'),
    now: (path) => (path === '/r/logbook/config' ? same.now(config) : undefined),
  }
  assert.deepEqual((await planned(files, state)).paths, [])
  assert.equal(
    (await planned(new Map([...files, [at('/r/logbook/config'), 'its id']]), state)).paths.length,
    1,
  )
})

/** Before and after any transaction here has begun, in nanoseconds. */
const [earlier, later] = [1n, 2n ** 62n]

function logbookView(files: Files, config: Content, ctimeNs = earlier): UndoView {
  const fingerprint = fingerprintOf(config)
  return {
    ...viewOf(files),
    now: (path) =>
      path === '/r/config' && fingerprint ? { ...fingerprint, ctimeNs } : fingerprintOf(files.get(path)),
    ownFolder: () => ({ path: at('/r'), what: 'logbook' }),
  }
}

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
    plan.conflicts.map(({ path, reason, old }) => [path, reason, old?.kind]),
    [[at('/x'), 'it is a folder in which other things lie now, before it was a file', 'before']],
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

/** Of `key=value`: what both changed differently is a conflict. */
function mergeKeys(_path: RawPath, { base, ours, theirs }: MergeSides<Buffer>): MergeResult {
  const entries = (side: Buffer | undefined) =>
    new Map(
      side
        ?.toString()
        .split('\n')
        .filter(Boolean)
        .map((line) => line.split('=', 2) as [string, string]),
    )
  const [b, o, t] = [entries(base), entries(ours), entries(theirs)]
  const lines: string[] = []
  for (const key of new Set([...o.keys(), ...t.keys()])) {
    const [was, mine, old] = [b.get(key), o.get(key), t.get(key)]
    if (was !== mine && was !== old && mine !== old)
      return { kind: 'conflict', reason: 'the same place was changed since', keys: [key] }
    const value = was === mine ? old : mine
    if (value !== undefined) lines.push(`${key}=${value}`)
  }
  return { kind: 'merged', bytes: Buffer.from(lines.toSorted().join('\n')) }
}

const viewByKeys = (files: Files): UndoView => ({ ...viewOf(files), merge: mergeKeys })

/** States of one path, one after the other; those of which the number is chosen are undone together. */
async function undoOnePath(
  path: RawPath,
  states: readonly (Content | undefined)[],
  chosen: readonly number[],
  told: (transaction: Told, number: number) => Told = (transaction) => transaction,
) {
  const filesOf = (content: Content | undefined): Files =>
    new Map(content === undefined ? [] : [[path, content]])
  const transactions = chosen
    .toSorted((one, other) => other - one)
    .map((number) => told(transactionOf(filesOf(states[number - 1]), filesOf(states[number])), number))
    .filter(({ changes }) => changes.length > 0)
  const files = filesOf(states.at(-1))
  const plan = await planUndoPaths(viewByKeys(files), { ...all, transactions })
  return { transactions, files, plan, after: await apply(files, plan) }
}

const value = fc.constantFrom('1', '2', '3')
const keyed = fc.option(
  fc.record({ a: value, b: value }).map(({ a, b }) => `a=${a}\nb=${b}`),
  { nil: undefined },
)

test('what is told as staying is as it was, byte for byte, whichever of several transactions is in the way', async () => {
  const chain = fc.array(keyed, { minLength: 2, maxLength: 7 }).chain((states) =>
    fc.record({
      states: fc.constant(states),
      chosen: fc.subarray(
        states.slice(1).map((_, at) => at + 1),
        { minLength: 1 },
      ),
    }),
  )
  const seen = { conflicts: 0, others: 0 }
  await fc.assert(
    fc.asyncProperty(chain, async ({ states, chosen }) => {
      const path = at('/x')
      const { transactions, files, plan, after } = await undoOnePath(path, states, chosen)
      const oldest = transactions.at(-1)
      const [conflict] = plan.conflicts
      if (conflict === undefined) {
        seen.others++
        // Nobody else touched it between them and since.
        const isWhole = chosen.length === states.length - Math.min(...chosen)
        if (isWhole && oldest) assert.equal(after.get(path), oldest.was.get(path))
        return
      }
      seen.conflicts++
      assert.ok(oldest)
      assert.deepEqual(plan.paths, [])
      assert.deepEqual(after, files)
      assert.deepEqual(conflict.now, fingerprintOf(files.get(path)))
      const was = oldest.was.get(path)
      assert.notEqual(was, files.get(path))
      assert.equal(conflict.old?.kind === 'before' ? conflict.old.transaction : undefined, was && oldest)
    }),
    { numRuns: 3000 },
  )
  assert.ok(seen.conflicts > 100 && seen.others > 100, JSON.stringify(seen))
})

test('a conflict of one transaction is one of all that are taken back with it, in either order', async () => {
  // Clean for the newest, and not for the oldest.
  const older = await undoOnePath(at('/x'), ['a=1', 'a=2', 'a=3', 'a=4'], [1, 3])
  // The other way round: what the older one changed could be merged.
  const newer = await undoOnePath(at('/x'), ['a=1\nb=1', 'a=2\nb=1', 'a=2\nb=2', 'a=2\nb=3'], [1, 2])
  for (const { plan, after, files, transactions } of [older, newer]) {
    assert.deepEqual(after, files)
    assert.deepEqual(
      plan.conflicts.map(({ path, old }) => [path, old?.kind === 'before' && old.transaction]),
      [[at('/x'), transactions.at(-1)]],
    )
  }
})

test('rights that one changed come back on the content that another one brings back', async () => {
  const path = at('/x')
  const files = (content: string): Files => new Map([[path, content]])
  const rights = transactionOf(files('a=1'), files('a=2'))
  const [change] = rights.changes
  assert.ok(change?.before)
  const first: Told = {
    ...rights,
    changes: [{ ...change, after: { ...change.before, mode: 0o600 } }],
    became: files('a=1'),
  }
  const last = transactionOf(files('a=3'), files('a=4'))
  const plan = await planUndoPaths(viewByKeys(files('a=4')), { ...all, transactions: [last, first] })
  assert.deepEqual(await apply(files('a=4'), plan), files('a=3'))
})

test('what cannot be had is asked for only where it is what comes back at the end', async () => {
  const path = at('/usr/bin/x')
  const isLost = (lost: number, source: string) => (transaction: Told, number: number) => ({
    ...transaction,
    document: { source: number === lost ? source : 'apt' } as TransactionDocument,
    changes: transaction.changes.map((change): RecordedChange => ({
      ...change,
      owner: { kind: 'package', package: 'x' },
      ...(number === lost ? { preImage: { kind: 'lost', reason: 'gone' } } : {}),
    })),
  })
  // Installed, changed by hand, removed: before all of that nothing was there.
  const states = [undefined, 'own', 'changed', undefined]
  const gone = await undoOnePath(path, states, [1, 2, 3], isLost(2, 'hand'))
  assert.deepEqual([gone.plan.paths, gone.plan.conflicts], [[], []])
  const there = await undoOnePath(path, states.slice(0, 3), [1, 2], isLost(2, 'hand'))
  assert.deepEqual([there.after.size, there.plan.conflicts], [0, []])
  // The package would come back without its own file: whoever asks for the content is told that it cannot be had.
  const half = await undoOnePath(path, states, [2, 3], isLost(2, 'hand'))
  assert.deepEqual(half.plan.conflicts, [])
  assert.deepEqual(
    half.plan.paths.map(({ content }) => content?.kind === 'before' && content.change.preImage.kind),
    ['lost'],
  )
  // So it would where it is a conflict, and not there.
  await assert.rejects(
    undoOnePath(path, ['a=1', 'a=2', 'a=3', undefined], [1, 3], isLost(0, 'hand')),
    /^VmlError: Cannot bring "\/usr\/bin\/x" back, which is a package's own: the same place was changed since/,
  )
  const alone = await undoOnePath(path, states.slice(0, 3), [2], isLost(2, 'hand'))
  assert.deepEqual(
    [alone.plan.paths, alone.plan.conflicts.map(({ reason }) => reason)],
    [[], ['what it was before cannot be had: gone']],
  )
})

test('what was not there before needs nothing of what it was in between, also where that has no hash or another owner', async () => {
  const path = at('/usr/bin/x')
  const states = [undefined, 'own', 'changed']
  const between = (lost: RecordedChange['preImage']) => (transaction: Told, number: number) => ({
    ...transaction,
    document: { source: number === 1 ? 'apt' : 'hand' } as TransactionDocument,
    changes: transaction.changes.map((change): RecordedChange => {
      if (number === 1 || change.before === undefined) return change
      const { sha256: _, ...unread } = change.before
      return { ...change, before: unread, preImage: lost }
    }),
  })
  const gone = between({ kind: 'lost', reason: 'gone' })
  const { plan } = await undoOnePath(path, states, [1, 2], gone)
  assert.deepEqual([plan.paths.map(({ wanted }) => wanted), plan.conflicts], [[undefined], []])
  // Changed by an upgrade whose package is gone, and given to somebody else since, which is in no record.
  const [none, first, second] = [new Map(), new Map([[path, 'own']]), new Map([[path, 'changed']])]
  const view = viewOf(second)
  const given: UndoView = {
    ...view,
    now: (asked) => withOwner(view.now(asked)),
    mergeAttributes: ({ theirs }) => ({ fingerprint: withOwner(theirs) ?? theirs }),
    contentBefore: () => Promise.reject(new Error('It was asked for')),
  }
  const taken = await planUndoPaths(given, {
    ...all,
    transactions: [transactionOf(first, second), transactionOf(none, first)],
  })
  assert.deepEqual(
    taken.paths.map(({ wanted, how }) => [wanted, how]),
    [[undefined, 'merged']],
  )
})

function withOwner(side: Fingerprint | undefined): Fingerprint | undefined {
  return side && { ...side, uid: 1 }
}

test('data of a service and files of a database stay whole where one of the transactions leaves a part', async () => {
  const was: Files = new Map([
    [at('/data'), 'folder'],
    [at('/data/one'), '1'],
    [at('/data/two'), '1'],
  ])
  const first: Files = new Map([...was, [at('/data/one'), '2'], [at('/data/two'), '2']])
  const used: Files = new Map([...first, [at('/data/one'), '3']])
  const last: Files = new Map([...used, [at('/data/two'), '4']])
  const transactions = [transactionOf(used, last), transactionOf(was, first)]
  const data = await undo(last, transactions)
  assert.deepEqual(await apply(last, data), last)
  assert.deepEqual(
    data.kept.map(({ path }) => path),
    [at('/data/one'), at('/data/two')],
  )
  const [db, wal] = [at('/x.db'), at('/x.db-wal')]
  const of = (file: string, log: string): Files =>
    new Map([
      [db, file],
      [wal, log],
    ])
  // The older one changed the database alone, and somebody since; the newer one both.
  const now = of('4', 'd')
  const both = await undo(now, [transactionOf(of('3', 'b'), now), transactionOf(of('1', 'b'), of('2', 'b'))])
  assert.deepEqual(await apply(now, both), now)
  assert.deepEqual(
    both.conflicts.map(({ path }) => path),
    [db, wal],
  )
})

test('several at once: the tree stays one, and what is told as staying stays', async () => {
  const keyedStep = fc.record({
    path: fc.constantFrom(...names, ...folders),
    lines: fc.option(fc.constantFrom(['a=1'], ['a=2'], ['a=3'], ['a=1', 'b=1']), { nil: undefined }),
  })
  const steps = fc.array(fc.array(keyedStep, { minLength: 1, maxLength: 4 }), { minLength: 2, maxLength: 6 })
  const seen = { conflicts: 0, refused: 0 }
  await fc.assert(
    fc.asyncProperty(steps, fc.nat(63), async (done, mask) => {
      const { files, transactions } = play(done)
      const chosen = transactions.filter((_, number) => (mask >> number) % 2 === 1).toReversed()
      const plan = await planUndoPaths(viewByKeys(files), { ...all, transactions: chosen })
      try {
        requireParents(plan, (path) => fingerprintOf(files.get(path)))
      } catch {
        seen.refused++
        return
      }
      const after = await apply(files, plan)
      for (const path of after.keys())
        assert.ok(parentPath(path) === '/' || after.get(parentPath(path)) === 'folder', path)
      for (const { path } of plan.conflicts) {
        seen.conflicts++
        assert.equal(after.get(path), files.get(path))
      }
    }),
    { numRuns: 2000 },
  )
  assert.ok(seen.conflicts > 50 && seen.refused < 200, JSON.stringify(seen))
})

test('what is made anew for one of several is not compared with what another one would have put back', async () => {
  const path = at('/x')
  const files = (content: string): Files => new Map([[path, content]])
  const view = { ...viewByKeys(files('a=4')), isRegeneratedWhenChanged: () => true }
  const transactions = [transactionOf(files('a=3'), files('a=4')), transactionOf(files('a=1'), files('a=2'))]
  const plan = await planUndoPaths(view, { ...all, transactions })
  assert.deepEqual([plan.paths, plan.regenerated], [[], [path]])
})

test('what somebody wrote since into a file that nothing makes again is never removed', async () => {
  const path = at('/x')
  const transactions = [transactionOf(new Map(), new Map([[path, 'made']]))]
  const rules = { isRegenerated: () => true, isRegeneratedWhenChanged: () => true }
  for (const [isLeft, content, goes] of [
    [true, 'mine', false],
    [true, 'made', true],
    [false, 'made anew', true],
  ] as const) {
    const files: Files = new Map([[path, content]])
    const view = { ...viewOf(files), ...rules, isLeftByItsRule: () => isLeft }
    const after = await apply(files, await planUndoPaths(view, { ...all, transactions }))
    assert.equal(after.has(path), !goes, content)
  }
})

test('rights that both changed are a conflict: the path stays as it is, and the content before lies beside it', async () => {
  const path = at('/x')
  const files = (content: string): Files => new Map([[path, content]])
  const plan = async (was: string, became: string, now: string) =>
    await planUndoPaths(
      {
        ...viewByKeys(files(now)),
        mergeAttributes: ({ ours }) => ({ fingerprint: ours, conflict: 'rights' }),
      },
      { ...all, transactions: [withRights(transactionOf(files(was), files(became)))] },
    )
  const withRights = (transaction: Told): Told => ({
    ...transaction,
    changes: transaction.changes.map((change): RecordedChange => {
      const { after } = change
      return after ? { ...change, after: { ...after, mode: 0o600 } } : change
    }),
  })
  for (const [was, became, now, isSide] of [
    ['a=1', 'a=2', 'a=2', true],
    ['a=1\nb=1', 'a=2\nb=1', 'a=2\nb=2', true],
    ['a=1', 'a=2', 'a=1', false],
  ] as const) {
    const { paths, conflicts } = await plan(was, became, now)
    assert.deepEqual(paths, [])
    if (isSide)
      assert.deepEqual(
        conflicts.map(({ reason, old }) => [reason, old !== undefined]),
        [['rights', true]],
      )
    else assert.deepEqual(conflicts, [])
  }
})
