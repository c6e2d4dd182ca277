import assert from 'node:assert/strict'
import { test } from 'node:test'
import { documentOf } from '../../test/recorded-transaction.ts'
import type { EntryId } from '../model/ids.ts'
import type { TransactionDocument } from '../model/transaction-record.ts'
import type { ListedTransaction } from './transactions.ts'
import { fromThen } from './undo-choices.ts'

const idOf = (number: number) => String(number).padStart(64, '0') as EntryId

function listOf(documents: readonly Partial<TransactionDocument>[]): readonly ListedTransaction[] {
  return documents.map((document, at) => ({
    entry: { id: idOf(at + 1), number: at + 1 } as ListedTransaction['entry'],
    document: documentOf(document),
    undoneBy: undefined,
    undoneInPart: false,
  }))
}

function numbersFrom(number: number, documents: readonly Partial<TransactionDocument>[]) {
  const listed = listOf(documents)
  const [one] = listed.slice(number - 1)
  assert.ok(one)
  return fromThen(listed, one).map(({ entry }) => entry.number)
}

test('undos and redos are taken back with all that came after, whatever they took back', () => {
  const documents = [{}, { takesBack: [idOf(1)] }, { takesBack: [idOf(2)] }, {}, { takesBack: [idOf(4)] }]
  assert.deepEqual(numbersFrom(1, documents), [1, 2, 3, 4, 5])
  assert.deepEqual(numbersFrom(3, documents), [3, 4, 5])
})

test('what was taken back whole is left out with its undo where one of them lacks something, and only there', () => {
  const dropped = { complete: false }
  assert.deepEqual(numbersFrom(1, [{}, dropped, {}, { takesBack: [idOf(2)] }]), [1, 3])
  // An undo in part leaves something; one of what came before has to be taken back itself.
  assert.deepEqual(numbersFrom(1, [{}, dropped, { takesBack: [idOf(2)], inPart: true }]), [1, 2, 3])
  assert.deepEqual(numbersFrom(3, [dropped, {}, {}, { takesBack: [idOf(1)] }]), [3, 4])
})
