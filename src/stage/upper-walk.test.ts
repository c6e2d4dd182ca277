import assert from 'node:assert/strict'
import { tmpdir } from 'node:os'
import { test } from 'node:test'
import { asRaw } from '../base/raw-text.ts'
import { parseRawPath } from '../model/raw-path.ts'
import { openLibc } from '../wire/libc.ts'
import { lookHere } from './upper-walk.ts'

test('a path that is too long with the folder of the stage before it is refused by name (issue 4)', () => {
  const [libc, path] = [openLibc(tmpdir()), parseRawPath(asRaw(`/${'nothing/'.repeat(512)}`))]
  assert(libc !== undefined && path !== undefined && path.length === 4096)
  assert.throws(() => lookHere(libc).at(path), {
    code: 'unsupported',
    message: /nothing" is longer than the 4095 bytes/,
    hint: /Nothing was changed. vml tx run --live/,
  })
})
