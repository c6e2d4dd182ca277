// Access lists, held against setfacl, getfacl and the kernel.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { isFailure } from '../base/failure.ts'
import { rawFromString } from '../base/raw-text.ts'
import { aclFromText, aclToText } from './posix-acl.ts'

const permissions = fc.constantFrom('---', 'r--', '-w-', '--x', 'rw-', 'r-x', '-wx', 'rwx')
const named = fc.dictionary(fc.integer({ min: 0, max: 4_294_967_294 }).map(String), permissions, {
  maxKeys: 4,
})

test('the text is the text of getfacl, and the bytes are those of the kernel, both ways (property)', () => {
  const folder = mkdtempSync(join(tmpdir(), 'acl-'))
  try {
    let count = 0
    fc.assert(
      fc.property(
        fc.constantFrom('access', 'default'),
        named,
        named,
        permissions,
        (kind, users, groups, own) => {
          const path = join(folder, `${count++}`)
          mkdirSync(path)
          const list = [
            ...Object.entries(users).map(([id, bits]) => `u:${id}:${bits}`),
            ...Object.entries(groups).map(([id, bits]) => `g:${id}:${bits}`),
            `u::${own}`,
          ]
          execFileSync('setfacl', [...(kind === 'default' ? ['-d'] : []), '-m', list.join(','), path])
          const text = execFileSync('getfacl', ['-n', '-c', '-p', '-E', `--${kind}`, path])
            .toString()
            .trimEnd()
          const kernel = kernelBytes(path, kind)
          assert.deepEqual(aclFromText(rawFromString(text.replaceAll(/^default:/gm, '')), kind), kernel)
          if (kernel) assert.equal(aclToText(kernel), `${text.replaceAll(/^default:/gm, '')}\n`)
        },
      ),
      { numRuns: 30 },
    )
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('commas, comments and ids in a fourth field are read as star and bsdtar write them', () => {
  const plain = rawFromString('user::rw-\nuser:500:r--\ngroup::r--\nmask::r--\nother::---')
  const star = rawFromString('user::rw-,user:lisa:r--:500,group::r--,mask::r--,other::---  #effective:r--')
  assert.deepEqual(aclFromText(star, 'access'), aclFromText(plain, 'access'))
})

test('names without a number, and nonsense, are refused; bytes that are no list have no text', () => {
  for (const text of [
    'user:lisa:rw-',
    'user::rwz',
    'mask:5:rwx',
    'x',
    'user:4294967295:r--',
    'u:99999999999:r--',
  ])
    assert.throws(
      () => aclFromText(rawFromString(text), 'access'),
      (error) => isFailure(error, 'integrity.format'),
    )
  for (const bytes of [[], [1, 0, 0, 0], [2, 0, 0, 0, 1], [2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]])
    assert.equal(aclToText(Buffer.from(bytes)), undefined)
})

function kernelBytes(path: string, kind: string): Buffer | undefined {
  const words = ['-n', `system.posix_acl_${kind}`, '-e', 'hex', '--only-values', '--absolute-names', path]
  try {
    return execFileSync('getfattr', words, { stdio: ['ignore', 'pipe', 'ignore'] })
  } catch {
    return undefined
  }
}
