import assert from 'node:assert/strict'
import { test } from 'node:test'
import { validationText } from './validation-text.ts'

test('files that an undo only tells of are no check that was not run', () => {
  const message = 'not as its package has it: /usr/bin/other'
  assert.equal(validationText({ name: 'files as before', outcome: 'not run', message }), message)
  assert.equal(validationText({ name: 'files that stay', outcome: 'not run', message }), message)
  assert.equal(
    validationText({ name: 'fit', outcome: 'not run', message: 'anybody may write it' }),
    'not run: anybody may write it',
  )
  assert.equal(validationText({ name: 'fit', outcome: 'passed' }), 'passed')
})
