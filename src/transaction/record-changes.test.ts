import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { rawFromString } from '../base/raw-text.ts'
import { parseRawPath } from '../model/raw-path.ts'
import type { Fingerprint, PathChange } from '../model/transaction.ts'
import type { PackageState } from '../packages/package-system.ts'
import { recordChanges, type RecordingParts } from './record-changes.ts'

const users = Array.from({ length: 100 }, (_, at) => `user${at}:${hash('sha256', String(at), 'hex')}\n`).join(
  '',
)
const old = `${users}old\n`
const fresh = `${users}new\n`

interface Happenings {
  /** Before anything is looked at. */
  readonly first?: (kept: string, live: string) => void
  /** Before each look at the content after it, with how many there were before. */
  readonly looks?: (live: string, before: number) => void
  readonly pins?: (live: string) => void
}

/** By default of a file that is merged by meaning, so that a delta and the content after it would be kept. */
async function recordAfter({ first, looks, pins }: Happenings, typed = '/etc/passwd') {
  let times = 0
  const folder = mkdtempSync(join(tmpdir(), 'vml-record-'))
  try {
    const [kept, live] = [join(folder, 'kept'), join(folder, 'live')]
    writeFileSync(kept, old)
    writeFileSync(live, fresh)
    first?.(kept, live)
    const { changes, gaps } = await recordChanges(
      [{ path: pathOf(typed), before: is(old), after: is(fresh) }],
      {
        ...parts,
        before: () => rawFromString(kept),
        after() {
          looks?.(live, times++)
          return rawFromString(live)
        },
        packagesAfter: [packaged],
        pin() {
          pins?.(live)
          return Promise.resolve(true)
        },
      },
    )
    const [change] = changes
    return { kind: change?.preImage.kind, afterKept: change?.afterKept, gaps: gaps.length }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const parts: RecordingParts = {
  references: new Map(),
  before: () => undefined,
  lost: () => 'nobody kept it',
  after: (path) => path,
  packagesBefore: [],
  packagesAfter: [],
  ruleOf: () => undefined,
  pin: () => assert.fail(),
}

const packaged: PackageState = {
  manager: 'dpkg',
  packages: [],
  unfinished: [],
  ownersOf: () => ['x'],
  packageOf: () => 'x',
  isConfiguration: () => false,
  files: { fileOf: () => undefined },
}

function pathOf(typed: string) {
  return parseRawPath(rawFromString(typed)) ?? assert.fail()
}

function is(content: string): Fingerprint {
  const sha256 = hash('sha256', content, 'hex')
  return { type: 'file', mode: 0o644, uid: 0, gid: 0, mtimeNs: 0n, size: content.length, sha256 }
}

test('what became of a file between the commit and its record is no part of the record, and keeps none from being made', async () => {
  const whole = { kind: 'delta', afterKept: true, gaps: 0 }
  assert.deepEqual(await recordAfter({}), whole)
  const withoutAfter = { kind: 'blob', afterKept: false, gaps: 0 }
  assert.deepEqual(await recordAfter({ first: (_, live) => appendFileSync(live, 'mine\n') }), withoutAfter)
  assert.deepEqual(await recordAfter({ first: (_, live) => rmSync(live) }), withoutAfter)
  assert.deepEqual(
    await recordAfter({ first: (kept) => appendFileSync(kept, 'of a program that has it open\n') }),
    whole,
  )
  const lost = { kind: 'lost', afterKept: true, gaps: 1 }
  assert.deepEqual(await recordAfter({ first: (kept) => writeFileSync(kept, old.toUpperCase()) }), lost)
})

test('a difference is kept only against what the entry keeps, too, or what is pinned', async () => {
  const writesAt = (at: number) => (live: string, before: number) => {
    if (before === at) appendFileSync(live, 'mine\n')
  }
  for (const at of [0, 1, 2]) {
    const { kind, afterKept } = await recordAfter({ looks: writesAt(at) })
    assert.ok(kind === 'blob' || afterKept === true, `${kind} where it is written into before look ${at + 1}`)
  }
  const program = '/usr/bin/program'
  assert.equal((await recordAfter({}, program)).kind, 'delta')
  for (const pins of [(live: string) => appendFileSync(live, 'mine\n'), (live: string) => rmSync(live)])
    assert.equal((await recordAfter({ pins }, program)).kind, 'blob')
})

test('a link or a device of which only the place is known cannot be had again, and the record says so', async () => {
  const some = { mode: 0o777, uid: 0, gid: 0, mtimeNs: 0n } as const
  const change = (name: string, before: Fingerprint): PathChange => ({ path: pathOf(`/${name}`), before })
  const { changes, gaps } = await recordChanges(
    [
      change('device', { ...some, type: 'chardev', device: 1n }),
      change('link', { ...some, type: 'symlink', linkTarget: rawFromString('there') }),
      change('unknown-device', { ...some, type: 'dev' }),
      change('unknown-link', { ...some, type: 'symlink' }),
    ],
    parts,
  )
  assert.deepEqual(
    changes.map(({ preImage }) => preImage.kind),
    ['fingerprint', 'fingerprint', 'lost', 'lost'],
  )
  assert.deepEqual(
    gaps.map(({ path }) => path),
    ['/unknown-device', '/unknown-link'],
  )
})
