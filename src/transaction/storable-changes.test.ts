import assert from 'node:assert/strict'
import { test } from 'node:test'
import { VmlError } from '../base/failure.ts'
import { asRaw } from '../base/raw-text.ts'
import { parseRawPath } from '../model/raw-path.ts'
import type { PathChange } from '../model/transaction.ts'
import { requireRecordable } from './storable-changes.ts'

test('more paths than a record holds are refused before anything is changed', () => {
  const changeOf = (path: string): PathChange => ({
    path: parseRawPath(asRaw(path)) ?? assert.fail(),
    after: { type: 'file', mode: 0o644, uid: 0, gid: 0, mtimeNs: 0n },
  })
  const deep = changeOf(`/${'n'.repeat(3500)}`)
  const usual = changeOf('/usr/share/doc/a-package/copyright')
  requireRecordable(Array.from({ length: 100_000 }, () => deep))
  requireRecordable(Array.from({ length: 500_000 }, () => usual))
  for (const many of [
    Array.from({ length: 250_000 }, () => deep),
    Array.from({ length: 1_200_000 }, () => usual),
  ])
    assert.throws(
      () => requireRecordable(many),
      (error) =>
        error instanceof VmlError &&
        error.code === 'unsupported' &&
        /changes \d+ paths, which is more than a record holds/.test(error.message),
    )
})
