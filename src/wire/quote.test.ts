// Quoting, held against the shells that people log in with.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { execScript } from './quote.ts'

const shells = [['sh'], ['bash'], ['zsh'], ['fish'], ['dash'], ['busybox', 'sh']]
const allBytes = Array.from({ length: 255 }, (_, index) => String.fromCharCode(index + 1)).join('')

for (const shell of shells)
  test(`${shell.join(' ')} as login shell passes every byte`, () => {
    const words = [
      allBytes,
      '',
      '\n',
      "it's",
      '!!',
      '\\',
      '%s',
      '$(id)',
      '`id`',
      '-n',
      '\xff\n',
      '~root',
      '^x^y',
    ]
    assert.deepEqual(through(shell, words), words)
  })

test('any words pass through any login shell (property)', () => {
  const word = fc
    .uint8Array({ min: 1, max: 255, maxLength: 30 })
    .map((bytes) => String.fromCharCode(...bytes))
  fc.assert(
    fc.property(
      fc.constantFrom(...shells),
      fc.array(word, { minLength: 1, maxLength: 4 }),
      (shell, words) => {
        assert.deepEqual(through(shell, words), words)
      },
    ),
    { numRuns: 60 },
  )
})

test('a script holds nothing that ends single quotes or means something to a login shell within them', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'binary-ascii' }), { minLength: 1 }), (words) => {
      const script = execScript(['printf', ...words.map((word) => word.replaceAll('\0', ''))])
      assert.match(script, /^[ -~]*$/)
      assert.doesNotMatch(script, /['!]|\\(?![0-7]{3})/)
    }),
  )
})

function through([program = '', ...options]: readonly string[], words: readonly string[]): string[] {
  const remote = `exec sh -c '${execScript(['printf', '%s\\0', ...words])}'`
  return execFileSync(program, [...options, '-c', remote])
    .toString('latin1')
    .split('\0')
    .slice(0, -1)
}
