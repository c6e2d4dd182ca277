import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isFailure } from '../base/failure.ts'
import { probationRequest } from './probation.ts'

test('a check that is empty, as of a variable that is not set, is refused: it would find all well', () => {
  for (const validate of ['', ' \n'])
    assert.throws(
      () => probationRequest({ validate, within: '3s', confirm: true }),
      (error) => isFailure(error, 'usage') && /the command of --validate is empty/.test(error.message),
    )
  assert.equal(probationRequest({ validate: 'true', within: '3s', confirm: false })?.command, 'true')
})
