// What somebody is told whose disk failed.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isFailure } from '../base/failure.ts'
import { explainDiskFailure } from './disk-failure.ts'

test('a full disk is told with what frees space where even a removal finds no room', () => {
  for (const code of ['ENOSPC', 'EDQUOT']) {
    const explained = explainDiskFailure('write "lock"', Object.assign(new Error(code), { code }))
    assert.ok(isFailure(explained, 'unavailable.space'))
    assert.match(explained.hint ?? '', /by other means, since even vml rm/)
  }
})
