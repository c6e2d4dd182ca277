import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { guessImage, parseOsRelease } from './os-release.ts'

test('values are read as a shell reads them', () => {
  const value = fc.string({ unit: fc.constantFrom(...'ab$`"\\ \'='.split('')), maxLength: 12 })
  fc.assert(
    fc.property(fc.array(value, { minLength: 20, maxLength: 20 }), (values) => {
      const lines = values.map((text, index) => `K${index}="${text.replace(/["$`\\]/g, '\\$&')}"`)
      const script = `${lines.join('\n')}\nprintf '%s\\n' ${values.map((_, index) => `"$K${index}"`).join(' ')}`
      const said = execFileSync('sh', ['-c', script], { encoding: 'utf8' }).split('\n').slice(0, -1)
      assert.deepEqual(Object.values(parseOsRelease(lines.join('\n'))), said)
    }),
    { numRuns: 20 },
  )
})

test('comments, broken lines and endless values are passed over', () => {
  const text = `# NAME=no\nID=debian\nVERSION_ID='12'\n__proto__=x\nOPEN="x\nTWO=a b\nLONG=${'x'.repeat(5000)}\nNAME="Debian \\"12\\""\n`
  assert.deepEqual(parseOsRelease(text), { ID: 'debian', VERSION_ID: '12', NAME: 'Debian "12"' })
})

test('the image is guessed from what it says of itself, then CernVM’s release, then the system', () => {
  const os = { ID: 'debian', VERSION_ID: '12' }
  assert.deepEqual(guessImage({ os }), { name: 'debian', version: '12' })
  assert.deepEqual(guessImage({ os: { ...os, IMAGE_ID: 'lab', IMAGE_VERSION: '7' } }), {
    name: 'lab',
    version: '7',
  })
  assert.deepEqual(guessImage({ os, cernvmRelease: 'CernVM release 2.7.2-1 (Carbon)' }), {
    name: 'cernvm',
    version: '2.7.2-1',
  })
  assert.equal(guessImage({ os: { ID: 'a b', VERSION_ID: '1' } }), undefined)
  assert.equal(guessImage({}), undefined)
})
