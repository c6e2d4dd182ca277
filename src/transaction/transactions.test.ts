import assert from 'node:assert/strict'
import { test } from 'node:test'
import { documentOf } from '../../test/recorded-transaction.ts'
import { VmlError } from '../base/failure.ts'
import type { EntryId } from '../model/ids.ts'
import type { TransactionDocument } from '../model/transaction-record.ts'
import {
  inForceSince,
  findTransaction,
  type ListedTransaction,
  partByMachine,
  requireAlone,
  requireNotUndone,
  withUndos,
} from './transactions.ts'

function listedOf(
  number: number,
  document: Partial<TransactionDocument>,
  undoneBy?: ListedTransaction['entry'],
): ListedTransaction {
  const id = String(number).padStart(64, '0') as EntryId
  const entry = { id, number } as ListedTransaction['entry']
  return { entry, document: documentOf(document), undoneBy, undoneInPart: undoneBy !== undefined }
}

const transition = (name: string) => ({ name, architecture: 'all', fate: 'installed', to: '1' }) as const

function refusalOf(one: ListedTransaction, listed: readonly ListedTransaction[]): string {
  try {
    requireNotUndone(one, listed)
  } catch (error) {
    assert.ok(error instanceof VmlError)
    return `${error.message}\n${error.hint}`
  }
  return ''
}

test('what was taken back in part is not told as taken back: what stayed is named, and the way for the rest', () => {
  const undo = listedOf(5, { packages: [transition('fit')], inPart: true })
  const one = listedOf(2, { packages: [transition('fit'), transition('lib')] }, undo.entry)
  const way =
    'Nothing was changed. For the rest of it: vml tx redo 2, then vml tx undo 2; with all that came later: vml tx undo --to-before 2'
  assert.equal(
    refusalOf(one, [one, undo]),
    `Cannot take back #2: #5 did it already, in part: lib stayed\n${way}`,
  )
  const file = listedOf(2, {}, undo.entry)
  assert.equal(
    refusalOf(file, [file, undo]),
    `Cannot take back #2: #5 did it already, in part: what had been changed since stayed\n${way}`,
  )
  assert.equal(
    refusalOf({ ...file, undoneInPart: false }, [file, undo]),
    'Cannot take back #2: #5 did it already\nNothing was changed. To bring it back: vml tx redo 2',
  )
  assert.equal(refusalOf({ ...file, undoneBy: undefined }, [file, undo]), '')
})

test('what was brought back in part is told so, also where that was taken back', () => {
  const takesBack = (number: number, inPart = false) => ({
    takesBack: [listedOf(number, {}).entry.id],
    ...(inPart ? { inPart } : {}),
  })
  const marksOf = (...documents: readonly Partial<TransactionDocument>[]) => {
    const all = withUndos([{}, takesBack(1), ...documents].map((each, at) => listedOf(at + 1, each)))
    return all.map(({ undoneBy, undoneInPart, broughtBackInPart }) =>
      undoneBy
        ? `undone by ${undoneBy.number}${undoneInPart ? ' in part' : ''}`
        : broughtBackInPart
          ? `back by ${broughtBackInPart.number} in part`
          : '',
    )
  }
  assert.deepEqual(marksOf(), ['undone by 2', ''])
  assert.deepEqual(marksOf(takesBack(2, true)), ['back by 3 in part', 'undone by 3 in part', ''])
  // All that it had brought back is taken back.
  assert.deepEqual(marksOf(takesBack(2, true), takesBack(3)), ['undone by 2', '', 'undone by 4', ''])
  assert.deepEqual(marksOf(takesBack(2), takesBack(3, true)), [
    'undone by 2 in part',
    'back by 4 in part',
    'undone by 4 in part',
    '',
  ])
})

test('what was taken back together with others comes back with them alone, and the way to it is told', () => {
  const undo = listedOf(9, {})
  const [one, ...others] = [2, 4, 5, 6, 8].map((number) => listedOf(number, {}, undo.entry))
  assert.ok(one)
  const refusal = {
    code: 'conflict',
    message: 'Cannot bring back #2 alone: #9 took it back together with #4–#6, #8',
    hint: 'Nothing was changed. vml tx undo 9 brings back all 5; with --dry-run it says what that would be',
  }
  assert.throws(() => requireAlone(one, [one, ...others, undo]), refusal)
  assert.match(
    refusalOf(one, [one, ...others, undo]),
    /For the rest of it: vml tx undo 9, then vml tx undo 2; with all .*: vml tx undo --to-before 2$/,
  )
  requireAlone(one, [one, listedOf(4, {}), undo])
  requireAlone({ ...one, undoneBy: undefined }, [one, ...others, undo])
})

test('an undo of what came later is not in the way of an older one, but what it brought back into force', () => {
  const [one, two, other] = [listedOf(1, {}), listedOf(2, {}), listedOf(3, {})]
  const takesBack = (...taken: readonly ListedTransaction[]) => ({
    takesBack: taken.map(({ entry }) => entry.id),
  })
  const numbers = (listed: readonly ListedTransaction[]) => listed.map(({ entry }) => entry.number)
  const undo = listedOf(4, takesBack(two))
  const back = listedOf(5, takesBack(undo, other))
  const undone = [other, undo].map((each) => ({ ...each, undoneBy: back.entry }))
  const listed = [one, two, ...undone, back]
  const afterOne = inForceSince(listed, 0)
  assert.deepEqual([numbers(afterOne.changes), numbers(afterOne.settled)], [[2], [5]])
  // Of what came after #3, it is the only one.
  assert.deepEqual(numbers(inForceSince(listed, 2).changes), [5])
  const inPart = { ...back, document: { ...back.document, inPart: true } as const }
  assert.deepEqual(numbers(inForceSince([one, two, ...undone, inPart], 0).changes), [2, 5])
})

test('what was made on another machine is none of this one: neither found by its number, nor told as its own', () => {
  const on = (machine: string, number: number, document: Partial<TransactionDocument>, host = machine) => {
    const { entry, ...rest } = listedOf(number, { mode: 'staged', ...document })
    const labels = { tags: [], snapshot: { tags: [] }, facts: { host } } as unknown as typeof entry
    return { ...rest, entry: { ...entry, ...labels, machine } }
  }
  const documents = [
    on('before', 1, { source: 'command' }),
    on('before', 2, { source: 'apt' }),
    on('mine', 3, { source: 'command' }),
    on('as-named', 4, { source: 'command' }, 'mine'),
    on('lab', 5, { source: 'command' }),
    on('gone', 6, { source: 'undo' }),
  ]
  const numbersOf = (entries: readonly ListedTransaction['entry'][]) => entries.map(({ number }) => number)
  const own = { names: new Set(['mine']) }
  const { listed, elsewhere } = partByMachine(documents, own)
  assert.deepEqual(numbersOf(listed.map(({ entry }) => entry)), [1, 2, 3, 4])
  assert.deepEqual(numbersOf(elsewhere), [5, 6])
  assert.throws(() => findTransaction({ listed, elsewhere }, '5'), {
    code: 'conflict',
    message: 'Cannot take #5 for a transaction of this machine: it was made on lab',
    hint: /vml tx undo 5 --on lab .*vml machine add lab local:$/,
  })
  const told = partByMachine(documents, {
    ...own,
    ids: new Set(documents.slice(5).map(({ entry }) => entry.id)),
  })
  assert.deepEqual(numbersOf(told.elsewhere), [5])
})
