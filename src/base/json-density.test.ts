import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isDenseJson } from './json-density.ts'

test('lists of next to nothing are dense, whatever they hold', () => {
  for (const item of ['{},', '[],', '0,', '"",', '1.5,', '{"a":1},'])
    assert.ok(isDenseJson(Buffer.from(`[${item.repeat(Math.ceil(2 ** 23 / item.length))}0]`)), item)
})

test('what restic and VML write is not, names full of commas and brackets included', () => {
  const id = 'a'.repeat(64)
  const blob = `{"id":"${id}","type":"data","offset":0,"length":1},`
  const pack = `{"id":"${id}","blobs":[${blob.slice(0, -1)}]},`
  const path = `{\n      "path": "/{[,,,,\\"\\\\{{",\n      "raw": "L3s=",\n      "rule": ",,,,,,,{{{{{"\n    },`
  for (const item of [blob, pack, path])
    assert.ok(!isDenseJson(Buffer.from(`[${item.repeat(Math.ceil(2 ** 23 / item.length))}0]`)), item)
  assert.ok(!isDenseJson(Buffer.from(`["${',{'.repeat(2 ** 22)}"]`)))
  assert.ok(!isDenseJson(Buffer.from('[{},{},{}]')))
})
