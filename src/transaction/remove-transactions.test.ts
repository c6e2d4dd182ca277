import assert from 'node:assert/strict'
import { test } from 'node:test'
import { documentOf, recordTransaction } from '../../test/recorded-transaction.ts'
import { makeRepository } from '../../test/store-fixture.ts'
import { type Reporter, silentReporter } from '../base/progress.ts'
import { asRaw } from '../base/raw-text.ts'
import { openCatalog } from '../catalog/catalog.ts'
import { listEntries, type OpenLogbook } from '../engine/entries.ts'
import { planRemove } from '../engine/remove.ts'
import { parseRawPath, rootPath } from '../model/raw-path.ts'
import type { RecordedChange } from '../model/transaction.ts'
import { planRecordRemoval, type RecordRemover, runRecordRemoval } from './remove-transactions.ts'

test('a record that cannot be read can be removed, and it is said what nobody can tell of it; the others stay', async () => {
  const { repository } = await makeRepository()
  await using _repository = repository
  using catalog = openCatalog(':memory:')
  const logbook = { repository, catalog }
  for (const [at, name] of ['no mode', 'tiny'].entries()) {
    const made: RecordedChange = {
      path: parseRawPath(asRaw('/made')) ?? assert.fail(),
      after: { type: 'dir', mode: name === 'tiny' ? 0o755 : 0o40755, uid: 0, gid: 0, mtimeNs: 0n },
      owner: { kind: 'package', package: 'tiny' },
      preImage: { kind: 'fingerprint' },
      afterKept: false,
    }
    await recordTransaction(repository, [made], { title: name, number: at + 1 })
  }
  const entries = await listEntries(logbook)
  const unread = entries.filter(({ title }) => title === 'no mode')
  const others = entries.filter(({ title }) => title === 'tiny')
  const warnings: string[] = []
  const reporter = {
    ...silentReporter,
    warn: ({ warning }: { warning: string }) => void warnings.push(warning),
  }
  const remover = removerOf(logbook, reporter)
  await assert.rejects(planRecordRemoval(remover, planRemove(others)), { code: 'integrity.format' })
  const removal = await planRecordRemoval(remover, planRemove(unread))
  assert.ok(removal)
  await runRecordRemoval(remover, removal)
  assert.deepEqual(await listEntries(logbook), others)
  assert.equal(warnings.length, 1)
  assert.match(warnings[0] ?? '', /What #1 keeps for others goes with it, since it cannot be read/)
})

test('of what is removed that is told which nothing takes back any more: in force, and later than one that stays', async () => {
  const { repository } = await makeRepository()
  await using _repository = repository
  using catalog = openCatalog(':memory:')
  const logbook = { repository, catalog }
  for (const number of [1, 2, 3, 4]) await recordTransaction(repository, [], { number })
  const entries = await listEntries(logbook)
  const numbered = (...numbers: number[]) => entries.filter(({ number }) => numbers.includes(number ?? 0))
  const told = async (...numbers: number[]) => {
    const plan = planRemove(
      (await listEntries(logbook)).filter(({ number }) => numbers.includes(number ?? 0)),
    )
    const removal = await planRecordRemoval(removerOf(logbook, silentReporter), plan)
    return removal?.inForce.map(({ number }) => number)
  }
  assert.deepEqual(await told(3), [3])
  assert.deepEqual(await told(2, 3, 4), [2, 3, 4])
  // Nothing older is there that one could go back to.
  assert.deepEqual(await told(1), [])
  assert.deepEqual(await told(1, 2, 3, 4), [])
  const takesBack = numbered(3).map(({ id }) => id)
  await recordTransaction(repository, [], { number: 5, document: documentOf({ source: 'undo', takesBack }) })
  assert.deepEqual(await told(3, 5), [])
  assert.deepEqual(await told(3), [])
})

function removerOf(logbook: OpenLogbook, reporter: Reporter): RecordRemover {
  return {
    keeping: {
      place: { root: rootPath, state: rootPath, reporter, signal: undefined },
      logbook,
      contentsOf: () => ({
        before: () => assert.fail(),
        requireBefore: () => assert.fail(),
        segmentsBefore: () => assert.fail(),
        after: () => assert.fail(),
      }),
    },
    pins: () => [],
  }
}
