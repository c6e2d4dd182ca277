import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openMemory } from '../backend/memory.ts'
import { silentReporter } from '../base/progress.ts'
import type { Snapshot } from '../model/entry.ts'
import { makeRepository, noise, reopen, save } from '../../test/store-fixture.ts'
import type { CheckReport } from './store.ts'

const contents = [noise(1_500_000, 'one'), noise(1_500_000, 'two'), Buffer.from('three')]

interface Prepared {
  readonly files: Map<string, Buffer>
  readonly snapshot: Snapshot
  /** Names of files of a kind, larger ones first. */
  of(kind: string): string[]
  check(options?: { readData?: boolean }): Promise<CheckReport>
}

async function prepare(): Promise<Prepared> {
  const { repository, files } = await makeRepository({ packBytes: 1_000_000 })
  const snapshot = await save(repository, contents)
  return {
    files,
    snapshot,
    of: (kind) =>
      [...files]
        .filter(([name]) => name.startsWith(`${kind}/`))
        .sort(([, a], [, b]) => b.length - a.length)
        .map(([name]) => name),
    check: async ({ readData = true } = {}) =>
      await (await reopen(files)).check({ readData, reporter: silentReporter }),
  }
}

function flip(files: Map<string, Buffer>, name: string, at: number): void {
  const data = files.get(name) ?? assert.fail(`No file ${name}`)
  const changed = Buffer.from(data)
  changed[at] = (changed[at] ?? 0) ^ 1
  files.set(name, changed)
}

test('a sound repository has no findings, read or not', async () => {
  const { files, check } = await prepare()
  for (const readData of [false, true]) {
    const report = await check({ readData })
    assert.deepEqual(report.findings, [])
    assert.equal(report.snapshots, 1)
    assert.equal(report.packs, [...files.keys()].filter((name) => name.startsWith('pack/')).length)
    assert.deepEqual(report.unusedPacks, [])
  }
})

test('a missing pack is named with the paths that need it', async () => {
  const { files, snapshot, of, check } = await prepare()
  const [pack = ''] = of('pack')
  files.delete(pack)
  const { findings } = await check({ readData: false })
  assert.deepEqual(
    findings.map(({ what, id, severity }) => [what, id, severity]),
    [['pack', pack.slice(5), 'damage']],
  )
  assert.deepEqual(
    findings[0]?.affects.map((affected) => affected.snapshot),
    [snapshot.id],
  )
  const [path = ''] = findings[0].affects[0]?.paths ?? []
  assert.match(path, /^\/files\/[01]$/)
})

test('a pack that was cut off is told without reading it', async () => {
  const { files, of, check } = await prepare()
  const [pack = ''] = of('pack')
  files.set(pack, files.get(pack)?.subarray(0, 500) ?? assert.fail())
  const { findings } = await check({ readData: false })
  assert.match(findings[0]?.message ?? '', /cut off/)
  assert.equal(findings[0]?.affects.length, 1)
})

test('every changed byte of a pack is found by reading, and a change outside of its blobs affects no path', async () => {
  const { files, of, check } = await prepare()
  const [pack = ''] = of('pack')
  const whole = files.get(pack) ?? assert.fail()
  for (const at of [0, 20, whole.length >> 1, whole.length - 60, whole.length - 2]) {
    flip(files, pack, at)
    const { findings } = await check()
    assert.deepEqual(
      findings.map(({ what, id }) => [what, id]),
      [['pack', pack.slice(5)]],
    )
    assert.equal(findings[0]?.affects.length, at < whole.length - 100 ? 1 : 0)
    assert.deepEqual((await check({ readData: false })).findings, [])
    files.set(pack, whole)
  }
})

test('a damaged tree is found without reading data, with the folder that it was', async () => {
  const { files, snapshot, of, check } = await prepare()
  const found: CheckReport['findings'][number][] = []
  for (const pack of of('pack')) {
    const whole = files.get(pack) ?? assert.fail()
    // In the pack with the trees, the first blob is the inner folder.
    flip(files, pack, 20)
    found.push(...(await check({ readData: false })).findings)
    files.set(pack, whole)
  }
  assert.deepEqual(
    found.map(({ what, affects }) => [what, affects]),
    [['tree', [{ snapshot: snapshot.id, paths: ['/files'] }]]],
  )
})

test('a blob that also lies in a sound pack is not lost', async () => {
  const { files, of, check } = await prepare()
  const before = new Set(of('pack'))
  const index = of('index').map((name) => [name, files.get(name)] as const)
  for (const [name] of index) files.delete(name)
  const packs = [...before].map((name) => [name, files.get(name)] as const)
  for (const [name] of packs) files.delete(name)
  // Stored a second time by somebody who did not know of the first.
  await save(await reopen(files), contents)
  for (const [name, data] of [...index, ...packs]) files.set(name, data ?? assert.fail())
  assert.deepEqual((await check()).findings, [])
  const [pack = ''] = [...before]
  flip(files, pack, 20)
  const { findings } = await check()
  assert.deepEqual(
    findings.map(({ id, affects }) => [id, affects]),
    [[pack.slice(5), []]],
  )
})

test('damaged snapshots, keys and indexes are named', async () => {
  for (const kind of ['snapshot', 'index'] as const) {
    const { files, snapshot, of, check } = await prepare()
    const [name = ''] = of(kind)
    flip(files, name, 20)
    const { findings, unusedPacks } = await check({ readData: false })
    assert.deepEqual(
      findings.map(({ what, id }) => `${what}/${id}`),
      [name],
    )
    assert.deepEqual(findings[0]?.affects, [{ snapshot: snapshot.id, paths: ['/'] }])
    assert.equal(unusedPacks.length, kind === 'index' ? of('pack').length : 0)
  }
  const { files, of, check } = await prepare()
  const [key = ''] = of('key')
  files.set(`key/${'1'.repeat(64)}`, Buffer.from('noise'))
  files.set(`key/${'2'.repeat(64)}`, files.get(key) ?? assert.fail())
  const { findings } = await check({ readData: false })
  assert.deepEqual(
    findings.map(({ what, id }) => [what, id.slice(0, 1)]),
    [
      ['key', '1'],
      ['key', '2'],
    ],
  )
})

test('a pack that no index names is told as unused, not as damage, and as a notice where its bytes are not right', async () => {
  const { files, of, check } = await prepare()
  const stray = `pack/${'3'.repeat(64)}`
  files.set(stray, Buffer.from('stray'))
  const report = await check()
  assert.deepEqual(report.unusedPacks, ['3'.repeat(64)])
  assert.deepEqual(
    report.findings.map(({ severity, what, affects }) => [severity, what, affects]),
    [['notice', 'pack', []]],
  )
  assert.deepEqual((await check({ readData: false })).findings, [])
  assert.equal(report.packs, of('pack').length)
})

test('a lock that was left behind is a notice', async () => {
  const { repository, files } = await makeRepository()
  await using _ = await repository.lock('shared')
  const reader = await reopen(openMemory({ files }), {
    clock: { now: () => Date.now() + 3_600_000, sleep: async () => {} },
  })
  const { findings } = await reader.check({ readData: false, reporter: silentReporter })
  assert.deepEqual(
    findings.map(({ severity, what }) => [severity, what]),
    [['notice', 'lock']],
  )
})

test('hundreds of snapshots and paths behind one fault are told in a bounded list', async () => {
  const { repository, files } = await makeRepository()
  const many = Array.from({ length: 50 }, () => contents[0] ?? assert.fail())
  await save(repository, many)
  const pack = [...files].sort(([, a], [, b]) => b.length - a.length)[0]?.[0] ?? assert.fail()
  files.delete(pack)
  const { findings } = await (await reopen(files)).check({ readData: false, reporter: silentReporter })
  assert.equal(findings.length, 1)
  assert.equal(findings[0]?.affects[0]?.paths.length, 20)
})
