// What a copy tells while it runs: how much of all that it will move is there.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  copyContext,
  makeLogbook,
  openLogbookAgain,
  saveEntry,
  type TestLogbook,
} from '../../test/copy-fixture.ts'
import { noise } from '../../test/store-fixture.ts'
import type { ProgressEvent } from '../base/progress.ts'
import { type CopyResult, measureCopy, planCopy, runCopy } from './copy.ts'

/** Runs a copy of all, and keeps what it says while it copies. */
async function watchCopy(
  from: TestLogbook,
  into: TestLogbook,
): Promise<{ readonly result: CopyResult; readonly told: readonly ProgressEvent[] }> {
  const told: ProgressEvent[] = []
  const context = await copyContext(from, into)
  const reporter = {
    progress: (event: ProgressEvent) => {
      if (event.phase === 'copying') told.push(event)
    },
    warn: () => {},
  }
  const result = await runCopy(planCopy(context.source, context), { ...context, reporter })
  return { result, told }
}

const files = { 'home/a': noise(90_000, 'a'), 'home/deep/b': noise(70_000, 'b') }

test('a copy tells from its first word how much there is to move in all, and ends at that', async () => {
  const [from, into] = [await makeLogbook(), await makeLogbook()]
  await saveEntry(from.repository, { number: 1, day: 1, files })
  await saveEntry(from.repository, { number: 2, day: 2, files: { ...files, 'etc/new': noise(500, 'new') } })
  const { result, told } = await watchCopy(from, into)
  assert.ok(told.length > 1)
  assert.deepEqual(new Set(told.map(({ bytesTotal }) => bytesTotal)), new Set([result.counts.bytes]))
  assert.equal(told.at(-1)?.bytesDone, result.counts.bytes)

  // Of the next one only what is missing there counts.
  await saveEntry(from.repository, { number: 3, day: 3, files: { ...files, 'etc/more': noise(700, 'more') } })
  const next = await watchCopy(from, into)
  assert.ok(next.result.counts.bytes < result.counts.bytes / 10)
  assert.deepEqual(
    new Set(next.told.map(({ bytesTotal }) => bytesTotal)),
    new Set([next.result.counts.bytes]),
  )
})

test('an entry whose folders cannot be read counts for nothing: the others are copied, against a total of their own', async () => {
  const from = await makeLogbook()
  await saveEntry(from.repository, { number: 1, day: 1, files })
  const before = new Set(from.files.keys())
  const broken = { 'other/c': noise(40_000, 'c') }
  await saveEntry(from.repository, { number: 2, day: 2, files: broken })
  // Packs of folders are the small ones.
  for (const [path, bytes] of from.files)
    if (path.startsWith('pack/') && !before.has(path) && bytes.length < 10_000) bytes.fill(7, 0, 100)
  await saveEntry(from.repository, { number: 3, day: 3, files: { 'home/d': noise(60_000, 'd') } })
  const damaged = await openLogbookAgain(from.files)
  const { result, told } = await watchCopy(damaged, await makeLogbook())
  assert.deepEqual(
    result.outcomes.map(({ entry, outcome }) => [entry.number, outcome]),
    [
      [2, 'damaged'],
      [1, 'copied'],
      [3, 'copied'],
    ],
  )
  assert.deepEqual(new Set(told.map(({ bytesTotal }) => bytesTotal)), new Set([result.counts.bytes]))
  // A dry run does not pass over what it was asked to count.
  const context = await copyContext(damaged, await makeLogbook())
  await assert.rejects(measureCopy(planCopy(context.source, context), context), { code: /^integrity/ })
})

test('where more comes to be missing than was counted no total is told any more', async () => {
  const [from, into] = [await makeLogbook(), await makeLogbook()]
  await saveEntry(from.repository, { number: 1, day: 1, files })
  const context = await copyContext(from, into)
  await runCopy(planCopy(context.source, context), context)
  await saveEntry(from.repository, { number: 2, day: 2, files: { ...files, 'etc/new': noise(500, 'new') } })
  const small = await copyContext(from, into)
  const plan = planCopy(small.source, small)
  // Another program takes all of it away once it was counted.
  const told: ProgressEvent[] = []
  const late = {
    ...small.into,
    repository: {
      ...into.repository,
      beginWrite: async (...begin: Parameters<typeof into.repository.beginWrite>) => {
        for (const path of [...into.files.keys()])
          if (/^(snapshot|index|pack)/.test(path)) into.files.delete(path)
        const emptied = await openLogbookAgain(into.files)
        return await emptied.repository.beginWrite(...begin)
      },
      snapshotIds: () => (async function* () {})(),
    },
  }
  const reporter = { progress: (event: ProgressEvent) => void told.push(event), warn: () => {} }
  const { counts } = await runCopy(plan, { ...small, into: late, reporter })
  const copying = told.filter(({ phase }) => phase === 'copying')
  const total = copying[0]?.bytesTotal ?? assert.fail()
  assert.ok(total < counts.bytes)
  for (const { bytesDone = 0, bytesTotal } of copying)
    assert.equal(bytesTotal, bytesDone <= total ? total : undefined)
})
