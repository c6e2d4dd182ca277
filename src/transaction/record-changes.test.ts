import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { rawFromString } from '../base/raw-text.ts'
import { parseRawPath } from '../model/raw-path.ts'
import type { Fingerprint } from '../model/transaction.ts'
import { recordChanges } from './record-changes.ts'

const users = Array.from({ length: 100 }, (_, at) => `user${at}:${hash('sha256', String(at), 'hex')}\n`).join(
  '',
)
const old = `${users}old\n`
const fresh = `${users}new\n`

/** Of a file that is merged by meaning, so that a delta and the content after it would be kept. */
async function recordAfter(
  happens: (kept: string, live: string) => void,
  /** Told before each look at the content after it, with how many there were before. */
  looks: (live: string, before: number) => void = () => {},
) {
  let times = 0
  const folder = mkdtempSync(join(tmpdir(), 'vml-record-'))
  try {
    const [kept, live] = [join(folder, 'kept'), join(folder, 'live')]
    writeFileSync(kept, old)
    writeFileSync(live, fresh)
    happens(kept, live)
    const path = parseRawPath(rawFromString('/etc/passwd'))
    assert.ok(path)
    const { changes, gaps } = await recordChanges([{ path, before: is(old), after: is(fresh) }], {
      references: new Map(),
      before: () => rawFromString(kept),
      lost: () => 'never',
      after() {
        looks(live, times++)
        return rawFromString(live)
      },
      packagesBefore: [],
      packagesAfter: [],
      ruleOf: () => undefined,
      pin: () => Promise.resolve(true),
    })
    const [change] = changes
    return { kind: change?.preImage.kind, afterKept: change?.afterKept, gaps: gaps.length }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function is(content: string): Fingerprint {
  const sha256 = hash('sha256', content, 'hex')
  return { type: 'file', mode: 0o644, uid: 0, gid: 0, mtimeNs: 0n, size: content.length, sha256 }
}

test('what became of a file between the commit and its record is no part of the record, and keeps none from being made', async () => {
  const whole = { kind: 'delta', afterKept: true, gaps: 0 }
  assert.deepEqual(await recordAfter(() => {}), whole)
  const withoutAfter = { kind: 'blob', afterKept: false, gaps: 0 }
  assert.deepEqual(await recordAfter((_, live) => appendFileSync(live, 'mine\n')), withoutAfter)
  assert.deepEqual(await recordAfter((_, live) => rmSync(live)), withoutAfter)
  assert.deepEqual(
    await recordAfter((kept) => appendFileSync(kept, 'of a program that has it open\n')),
    whole,
  )
  const lost = { kind: 'lost', afterKept: true, gaps: 1 }
  assert.deepEqual(await recordAfter((kept) => writeFileSync(kept, old.toUpperCase())), lost)
})

test('a difference is kept only against what the entry keeps, too, or what is pinned', async () => {
  for (const at of [0, 1, 2]) {
    const { kind, afterKept } = await recordAfter(
      () => {},
      (live, before) => {
        if (before === at) appendFileSync(live, 'mine\n')
      },
    )
    assert.ok(kind === 'blob' || afterKept === true, `${kind} where it is written into before look ${at + 1}`)
  }
})
