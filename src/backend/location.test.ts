import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { schemeOf, shownLocation } from './location.ts'

test('no password of a location is shown', () => {
  const letters = fc.stringMatching(/^[A-Za-z0-9._~%!$&'()*+,;=:@-]{1,20}$/)
  fc.assert(
    fc.property(
      letters,
      fc.constantFrom('rest:https', 'rest:http', 's3:https', 'sftp'),
      (password, scheme) => {
        const secret = `<${password}>`
        const shown = shownLocation(`${scheme}://ana:${secret}@host.example:8000/path`)
        assert.equal(shown, `${scheme}://ana:***@host.example:8000/path`)
      },
    ),
  )
})

test('nothing of a remote of rclone on the fly is shown but its type and its path', () => {
  for (const options of ['host=nas,pass=<secret>', 'pass="<secret>:x,y",host=nas', "pass='<secret>:'"]) {
    assert.equal(shownLocation(`rclone::sftp,${options}:deep/book`), 'rclone::sftp,…:deep/book')
    assert.equal(shownLocation(`rclone:nas,${options}:book`), 'rclone:nas,…:book')
  }
})

test('what has no password is shown as it is', () => {
  for (const location of [
    '/home/ana/book',
    'sftp:ana@nas:/srv/a:b@c',
    'sftp://nas:22//srv',
    'rest:https://host:8000/',
    'rclone:nas:deep/book',
    'rclone:/srv/a,b:c',
  ])
    assert.equal(shownLocation(location), location)
})

test('the word before a colon is a scheme, a letter or a path is none', () => {
  assert.deepEqual(
    ['sftp:nas:/b', 's3:https://x', 'b2:bucket', '/a:b', './s3:x', 'C:\\book', 'notes 2026:x', ''].map(
      schemeOf,
    ),
    ['sftp', 's3', 'b2', 'local', 'local', 'local', 'local', 'local'],
  )
})
