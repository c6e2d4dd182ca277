import assert from 'node:assert/strict'
import { test } from 'node:test'
import { asRaw } from '../base/raw-text.ts'
import { parseRawPath, type RawPath, rootPath } from '../model/raw-path.ts'
import type { Fingerprint } from '../model/transaction.ts'
import { diversionsPath } from './maybe-kept.ts'
import type { TransactionContents } from './transaction-contents.ts'
import { type ReadTransaction, sha256Of } from './transaction-entry.ts'
import { planDiversions } from './undo-diversions.ts'
import type { PlannedPath, UndoPaths, UndoView } from './undo-plan.ts'

const at = (text: string): RawPath => parseRawPath(asRaw(text)) ?? rootPath
const [good, real] = [at('/usr/bin/good'), at('/usr/bin/good.real')]
const diverted = `${good}\n${real}\ndivr\n`

function fileOf(content: string, more: Partial<Fingerprint> = {}): Fingerprint {
  const bytes = Buffer.from(content)
  return {
    ...{ type: 'file', mode: 0o755, uid: 0, gid: 0, mtimeNs: 0n },
    ...{ size: bytes.length, sha256: sha256Of(bytes) },
    ...more,
  }
}

interface Case {
  /** The text of diversions now, and then. */
  readonly diversions: readonly [now: string, then: string]
  readonly now: Readonly<Record<string, string>>
  /** What the undo has planned so far: content, or undefined where it goes. */
  readonly planned: Readonly<Record<string, string | undefined>>
  readonly owners?: readonly string[]
  readonly going?: readonly string[]
  /** Of what is at the target. */
  readonly attributes?: Partial<Fingerprint>
  /** The target's content before the transactions. */
  readonly before?: string
}

async function plan(one: Case) {
  const contentNow = (path: RawPath) =>
    Buffer.from(path === diversionsPath ? one.diversions[0] : (one.now[path] ?? ''))
  const bytes = Buffer.from(one.diversions[1])
  const view = {
    now: (path: RawPath) =>
      path === '/bin'
        ? { ...fileOf(''), type: 'symlink', linkTarget: asRaw('usr/bin') }
        : one.now[path] === undefined
          ? undefined
          : fileOf(one.now[path], path === real || !(real in one.now) ? one.attributes : {}),
    contentNow,
  } as unknown as UndoView
  const paths = {
    paths: [
      {
        ...{ path: diversionsPath, now: fileOf(one.diversions[0]), wanted: fileOf(one.diversions[1]) },
        ...{ how: 'restored', content: { kind: 'bytes', bytes } },
      },
      ...Object.entries(one.planned).map(([path, then]) => ({
        ...{ path: at(path), how: 'restored', now: view.now(at(path)) },
        wanted: then === undefined ? undefined : fileOf(then),
      })),
    ] as readonly PlannedPath[],
    conflicts: [],
    kept: [{ path: real, why: 'belongs to a package that stays' }],
    ...{ regenerated: [], already: 0 },
  } as UndoPaths
  const change = { path: real, ...(one.before === undefined ? {} : { before: fileOf(one.before) }) }
  const planned = await planDiversions(view, {} as TransactionContents, {
    transactions: [{ changes: [change] } as unknown as ReadTransaction],
    paths,
    going: new Set(one.going ?? ['divr']),
    ownersOf: () => ['divr', ...(one.owners ?? ['good'])],
  })
  const files = planned.paths.paths
    .filter(({ path }) => path !== diversionsPath)
    .map(({ path, how, wanted, content }) => [
      path,
      how,
      wanted?.sha256 === undefined || content?.kind !== 'bytes' ? wanted?.sha256 : content.bytes.toString(),
    ])
  return { files, kept: planned.paths.kept.length, misplaced: planned.misplaced }
}

const moved = {
  files: [
    [good, 'merged', '2'],
    [real, 'restored', undefined],
  ],
  ...{ kept: 0, misplaced: [] },
}

test('where a diversion ends, the file of the package that stays moves back as it is by now', async () => {
  const ends: Case = {
    diversions: [diverted, ''],
    now: { [good]: 'divr', [real]: '2' },
    planned: { [good]: '1' },
  }
  assert.deepEqual(await plan(ends), moved)
  assert.deepEqual(await plan({ ...ends, attributes: { sha256: '' } }), moved)
  assert.deepEqual(await plan({ ...ends, diversions: [diverted.replace('divr', ':'), ''] }), moved)
  assert.deepEqual(await plan({ ...ends, diversions: [diverted.replaceAll('/usr/', '/'), ''] }), moved)
  // The diverter's own went, and nothing else had been there.
  assert.deepEqual(await plan({ ...ends, planned: { [good]: undefined } }), moved)
  // Somebody gave it other rights.
  const rights = await plan({ ...ends, now: { [good]: 'divr', [real]: '1' }, attributes: { mode: 0o700 } })
  assert.deepEqual([rights.files[0]?.[1], rights.misplaced], ['merged', []])
})

test('what is as it was planned, or is of a package that goes, or of none, is left to the plan', async () => {
  const ends: Case = {
    diversions: [diverted, ''],
    now: { [good]: 'divr', [real]: '2' },
    planned: { [good]: '1' },
  }
  for (const each of [
    { ...ends, now: { [good]: 'divr', [real]: '1' } },
    { ...ends, going: ['divr', 'good'] },
    { ...ends, owners: [] },
    { ...ends, now: { [good]: 'divr' } },
    { ...ends, diversions: [diverted, `${diverted}/a\n/b\n:\n`] as const },
  ]) {
    const { files, misplaced } = await plan(each)
    assert.deepEqual([files.length, files[0]?.[1], misplaced], [1, 'restored', []])
  }
})

test('what cannot simply be moved is refused: another file lies there, it has several names, a diversion begins', async () => {
  const misplaced = { owner: 'good', from: real, to: good, diverter: 'divr' }
  const ends: Case = {
    diversions: [diverted, ''],
    now: { [good]: 'divr', [real]: '2' },
    planned: { [good]: '1' },
  }
  for (const each of [
    { ...ends, planned: {} },
    { ...ends, attributes: { links: 2 } },
    { ...ends, before: 'somebody else' },
  ])
    assert.deepEqual((await plan(each)).misplaced, [misplaced])
  assert.deepEqual(
    (
      await plan({
        diversions: ['', diverted],
        now: { [good]: '2' },
        planned: { [good]: 'divr', [real]: '1' },
      })
    ).misplaced,
    [{ ...misplaced, from: good, to: real }],
  )
})
