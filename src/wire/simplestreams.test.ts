import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { isFailure } from '../base/failure.ts'
import { isBelowRoot, parseStreamIndex, parseStreamProducts } from './simplestreams.ts'

const bytes = (value: unknown) => Buffer.from(JSON.stringify(value))

function catalogue(path: string) {
  const items = { 'disk.qcow2': { ftype: 'disk-kvm.img', path, sha256: 'A'.repeat(64), size: 7, md5: 'x' } }
  const versions = { '1': { label: 'first', items }, '2': { items, vml: { user: 'lab' } } }
  const tiny = { aliases: 'tiny', arch: 'amd64', os: 'tiny', versions, vml: { seed: 'baked', user: 'root' } }
  return { format: 'products:1.0', datatype: 'image-downloads', products: { 'x:tiny': tiny } }
}

test('versions of a product carry the tags of product and version, the inner one winning', () => {
  const [first, second] = parseStreamProducts(bytes(catalogue('a/disk.qcow2')), 'here')
  assert.equal(first?.version, '1')
  assert.deepEqual([first?.tags['arch'], first?.tags['label']], ['amd64', 'first'])
  assert.deepEqual(first?.vml, { seed: 'baked', user: 'root' })
  assert.deepEqual(second?.vml, { seed: 'baked', user: 'lab' })
  assert.deepEqual(first?.items, [
    { ftype: 'disk-kvm.img', path: 'a/disk.qcow2', sha256: 'a'.repeat(64), sizeBytes: 7 },
  ])
})

test('an index names the product files that can hold images', () => {
  const index = {
    a: { path: 'streams/v1/images.json', format: 'products:1.0', datatype: 'image-downloads' },
    b: { path: 'streams/v1/ids.json', format: 'products:1.0', datatype: 'image-ids' },
    c: { path: 'streams/v1/content.json', format: 'content-download:1.0', datatype: 'content-download' },
  }
  assert.deepEqual(parseStreamIndex(bytes({ format: 'index:1.0', index }), 'here'), [
    'streams/v1/images.json',
    'streams/v1/ids.json',
  ])
})

const hostile = [
  '../x',
  'a/../../x',
  '/etc/passwd',
  '//host/x',
  'http://host/x',
  'file:x',
  'a//b',
  'a\\..\\b',
  'a%2e%2e/b',
  'a?b',
  'a\u0000b',
  'a/./b',
  '',
  '..',
]

for (const path of hostile) {
  test(`a path that may leave the mirror is refused: ${JSON.stringify(path)}`, () => {
    assert.throws(
      () => parseStreamProducts(bytes(catalogue(path)), 'here'),
      (error) => isFailure(error, 'image.unobtainable') && error.message.includes('leads out of the mirror'),
    )
  })
}

test('any accepted path, as part of a URL, stays below the root of the mirror', () => {
  const piece = fc.constantFrom(
    'a',
    '.',
    '..',
    '/',
    '\\',
    '%2e',
    ':',
    '?',
    '#',
    '@',
    ' ',
    '\t',
    '~',
    '-',
    'é',
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
      const path = pieces.join('')
      fc.pre(isBelowRoot(path))
      const url = new URL(path, 'http://127.0.0.1/root/')
      assert.equal(url.origin, 'http://127.0.0.1')
      assert.ok(url.pathname.startsWith('/root/') && url.pathname.length > '/root/'.length)
      assert.equal(url.search + url.hash, '')
    }),
    { numRuns: 2_000 },
  )
})

test('what is no catalogue, or one without bounds, is told by the place that is wrong', () => {
  refused(Buffer.from('<html>'), /JSON/)
  refused(Buffer.from([0x22, 0xff, 0x22]), /encoded|UTF-8/i)
  refused(bytes({ format: 'products:2.0', products: {} }), /format/)
  const versions = Object.fromEntries(Array.from({ length: 5_001 }, (_, at) => [`v${at}`, { items: {} }]))
  refused(bytes({ format: 'products:1.0', products: { p: { versions } } }), /p > versions.*5000/)
  const wrongSize = { ftype: 'a', path: 'a', size: -1 }
  refused(
    bytes({ format: 'products:1.0', products: { p: { versions: { v: { items: { i: wrongSize } } } } } }),
    /p > versions > v > items > i > size/,
  )
})

function refused(document: Uint8Array, saying: RegExp) {
  assert.throws(
    () => parseStreamProducts(document, 'here'),
    (error) => isFailure(error, 'image.unobtainable') && saying.test(error.message),
  )
}
