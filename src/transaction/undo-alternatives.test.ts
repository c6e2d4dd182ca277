import assert from 'node:assert/strict'
import { test } from 'node:test'
import { asRaw } from '../base/raw-text.ts'
import { parseRawPath, type RawPath } from '../model/raw-path.ts'
import type { TransactionDocument } from '../model/transaction-record.ts'
import type { Fingerprint, RecordedChange } from '../model/transaction.ts'
import { type ReadTransaction, sha256Of } from './transaction-entry.ts'
import { planAlternatives } from './undo-alternatives.ts'
import { planUndoPaths, type UndoView } from './undo-plan.ts'

const at = (text: string): RawPath => {
  const path = parseRawPath(asRaw(text))
  assert.ok(path !== undefined)
  return path
}
const [file, link] = [at('/var/lib/dpkg/alternatives/editor'), at('/etc/alternatives/editor')]
const owner = { uid: 0, gid: 0, mtimeNs: 0n }

/** A group that is set by hand, with these choices. */
const group = (choices: string) =>
  [
    'manual',
    '/usr/bin/editor',
    '',
    ...[...choices].flatMap((choice) => [`/opt/${choice}`, '10']),
    '',
    '',
  ].join('\n')
const fileOf = (choices: string): Fingerprint => {
  const bytes = Buffer.from(group(choices))
  return { ...owner, type: 'file', mode: 0o644, size: bytes.length, sha256: sha256Of(bytes) }
}
const linkTo = (choice: string): Fingerprint => ({
  ...owner,
  type: 'symlink',
  mode: 0o777,
  linkTarget: asRaw(`/opt/${choice}`),
})

interface Change extends Pick<RecordedChange, 'path' | 'before' | 'after'> {
  readonly texts?: readonly [before: string, after: string]
}
const ofFile = (before: string, after: string): Change => ({
  ...{ path: file, before: fileOf(before), after: fileOf(after) },
  texts: [group(before), group(after)],
})
const ofLink = (before: string, after: string): Change => ({
  ...{ path: link, before: linkTo(before), after: linkTo(after) },
})

function transactionOf(...changes: readonly Change[]): ReadTransaction {
  return {
    entry: {} as ReadTransaction['entry'],
    document: { source: 'command' } as TransactionDocument,
    changes: changes.map((change) => ({
      ...change,
      owner: { kind: 'script' },
      preImage: { kind: change.path === file ? 'blob' : 'fingerprint' },
      afterKept: true,
    })),
  }
}

const textsOf = (change: RecordedChange) => (change as Change).texts ?? ['', '']

async function undo(now: { choices: string; chosen: string }, transactions: readonly ReadTransaction[]) {
  const there = new Map([
    [file, fileOf(now.choices)],
    [link, linkTo(now.chosen)],
    ...[...'abcdef'].map((choice) => [at(`/opt/${choice}`), fileOf(choice)] as const),
  ])
  const view: UndoView = {
    now: (path) => there.get(path),
    ownFolder: () => undefined,
    contentNow: () => Buffer.from(group(now.choices)),
    names: () => [],
    listedByOthers: () => false,
    isRegenerated: () => false,
    isLeftByItsRule: () => false,
    isRegeneratedWhenChanged: () => false,
    dataFolder: () => undefined,
    contentBefore: (_, change) => Promise.resolve(Buffer.from(textsOf(change)[0])),
    contentAfter: (_, change) => Promise.resolve(Buffer.from(textsOf(change)[1])),
    merge: () => ({ kind: 'conflict', reason: 'both changed', keys: [] }),
    mergeAttributes: ({ ours }) => ({ fingerprint: ours }),
  }
  const byPath = await planUndoPaths(view, { data: false, stays: () => false, transactions })
  const { paths, conflicts } = await planAlternatives(view, transactions, byPath)
  return {
    target: paths.find(({ path }) => path === link)?.wanted?.linkTarget,
    text: paths.flatMap(({ path, content }) =>
      path === file && content?.kind === 'bytes' ? [content.bytes.toString()] : [],
    )[0],
    conflicts: conflicts.map(({ path }) => path),
  }
}

test('a choice that one of several transactions made goes with them, where another one changed the group', async () => {
  const installs = transactionOf(ofFile('ab', 'abc'))
  const chooses = transactionOf(ofLink('a', 'b'))
  // Somebody else added a fourth choice since.
  const together = await undo({ choices: 'abcd', chosen: 'b' }, [chooses, installs])
  assert.deepEqual(together, { target: '/opt/a', text: group('abd'), conflicts: [] })
  const steps = await undo({ choices: 'abcd', chosen: 'd' }, [
    transactionOf(ofLink('b', 'd')),
    transactionOf(ofFile('ab', 'abc'), ofLink('a', 'b')),
  ])
  assert.deepEqual([steps.target, steps.conflicts], ['/opt/a', []])
})

test('a choice that somebody else made between them stays, and is told', async () => {
  const between = await undo({ choices: 'abcde', chosen: 'e' }, [
    transactionOf(ofLink('d', 'e')),
    transactionOf(ofFile('ab', 'abc'), ofLink('a', 'b')),
  ])
  assert.deepEqual([between.target, between.conflicts], [undefined, [link, file]])
})
