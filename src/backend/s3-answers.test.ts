import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { isFailure } from '../base/failure.ts'
import { parseProfile } from './aws-credentials.ts'
import { parseS3Error, parseS3Listing } from './s3-answers.ts'
import { parseS3Location, regionOf, s3LocationText } from './s3-location.ts'

const page = `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><IsTruncated>true</IsTruncated><Contents><Key>a &amp; b/x</Key><Size>12</Size></Contents><Contents><Key>&#x41;</Key><Size>0</Size></Contents><NextContinuationToken>t&lt;</NextContinuationToken></ListBucketResult>`

test('a page of a listing is read with its entities and its token', () => {
  assert.deepEqual(parseS3Listing(Buffer.from(page), 'here'), {
    objects: [
      { key: 'a & b/x', size: 12 },
      { key: 'A', size: 0 },
    ],
    next: 't<',
  })
})

test('a listing that ends early, wherever that is, is refused and never a shorter one', () => {
  for (let length = 0; length < page.length; length++)
    assert.throws(
      () => parseS3Listing(Buffer.from(page.slice(0, length)), 'here'),
      (error) => isFailure(error, 'remote.protocol'),
    )
})

test('whatever a server says instead of a listing or an error is refused or passed over', () => {
  fc.assert(
    fc.property(fc.string(), fc.nat(page.length), (text, at) => {
      const mutated = Buffer.from(page.slice(0, at) + text + page.slice(at))
      parseS3Error(mutated)
      try {
        parseS3Listing(mutated, 'here')
      } catch (error) {
        assert.ok(isFailure(error, 'remote.protocol'))
      }
    }),
  )
})

test('an error tells its code and region, and nothing that is none', () => {
  const error = (code: string) => Buffer.from(`<Error><Code>${code}</Code><Region>eu-west-1</Region></Error>`)
  assert.deepEqual(parseS3Error(error('AccessDenied')), { code: 'AccessDenied', region: 'eu-west-1' })
  assert.equal(parseS3Error(error('\u001b[31m')).code, undefined)
})

test('a location is written as restic writes it, and cannot hold keys or climb out', () => {
  const shown = (text: string) => s3LocationText(parseS3Location(text))
  assert.equal(shown('s3:http://h:80/bucket/a//b/'), 's3:http://h/bucket/a/b')
  assert.equal(shown('s3:s3.amazonaws.com/bucket'), 's3:https://s3.amazonaws.com/bucket')
  assert.equal(shown('s3://h:9000/bucket/x'), 's3:https://h:9000/bucket/x')
  for (const text of [
    's3:',
    's3:h',
    's3:https://h/',
    's3:https://id:secret@h/bucket',
    's3:https://h/bucket/../other',
  ])
    assert.throws(
      () => parseS3Location(text),
      (error: Error) => isFailure(error, 'usage') && !error.message.includes('secret'),
    )
})

test('the region stands in addresses of Amazon', () => {
  const region = (host: string) => regionOf(parseS3Location(`s3:https://${host}/bucket`))
  assert.equal(region('s3.eu-central-1.amazonaws.com'), 'eu-central-1')
  assert.equal(region('s3.dualstack.eu-west-2.amazonaws.com'), 'eu-west-2')
  assert.equal(region('s3.amazonaws.com'), 'us-east-1')
  assert.equal(region('ceph.example.org'), 'us-east-1')
})

test('a profile of the file of keys is found, and half of one is none', () => {
  const text =
    '[default]\naws_access_key_id = A\n aws_secret_access_key=B=\r\n# c\n[ two ]\naws_access_key_id=C\n'
  assert.deepEqual(parseProfile(text, 'default'), {
    accessKeyId: 'A',
    secretAccessKey: 'B=',
    sessionToken: undefined,
  })
  assert.equal(parseProfile(text, 'two'), undefined)
  assert.equal(parseProfile(text, 'three'), undefined)
})
