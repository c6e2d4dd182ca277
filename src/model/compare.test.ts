import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { asRaw } from '../base/raw-text.ts'
import { compareTreeOrder, isConfigurationPath } from './compare.ts'
import { findRenames, type OneSided } from './renames.ts'
import { type BlobId, parseId } from './ids.ts'
import { parseRawPath, pathParts, type RawName, type RawPath } from './raw-path.ts'

test('settings are told from work', () => {
  const settings = [
    '/etc/hosts',
    '/etc/apt/sources.list.d/x.list',
    '/home/lab/.bashrc',
    '/home/lab/.config/fit/anything',
    '/home/lab/.ssh/config',
    '/home/lab/project/fit.toml',
    '/opt/app/app.conf',
    '/home/lab/.vmlignore',
  ]
  const work = [
    '/home/lab/fit.py',
    '/home/lab/.bash_history',
    '/home/lab/.cache/pip/x.toml',
    '/home/lab/.local/share/app/state',
    '/home/lab/project/.git/config',
    '/home/lab/etc/data',
    '/home/lab/.config/app/session.lock',
  ]
  assert.deepEqual(
    [...settings, ...work].filter((text) => isConfigurationPath(path(text))),
    settings,
  )
})

test('the order of a tree is that of its names, folder by folder', () => {
  const name = fc.string({ unit: fc.constantFrom('a', '-', '!', '\xff', '\x01'), minLength: 1, maxLength: 2 })
  const any = fc.array(name, { minLength: 1, maxLength: 4 }).map((names) => path(`/${names.join('/')}`))
  fc.assert(
    fc.property(any, any, (left, right) => {
      const [a, b] = [pathParts(left), pathParts(right)]
      const at = a.findIndex((part, index) => part !== b[index])
      const [x, y] = [a[at], b[at]]
      const expected =
        at === -1
          ? Math.sign(a.length - b.length)
          : x === undefined || y === undefined
            ? Math.sign(a.length - b.length)
            : x < y
              ? -1
              : 1
      assert.equal(compareTreeOrder(left, right), expected)
    }),
  )
})

test('ten thousand copies of one file are renamed one to one, in a moment', () => {
  const { renames, deleted, added } = findRenames(copies('a'), copies('b'))
  assert.equal(renames.length, 10_000)
  assert.equal(new Set(renames.map(({ to }) => to)).size, 10_000)
  assert.deepEqual([deleted, added], [[], []])
})

function copies(folder: string): OneSided[] {
  return Array.from({ length: 10_000 }, (_, index) => file(path(`/${folder}/${folder}${index}`)))
}

function file(at: RawPath): OneSided {
  const content = parseId<BlobId>('ab'.repeat(32))
  assert.ok(content)
  const name = pathParts(at).at(-1) ?? (asRaw('x') as RawName)
  const node = {
    name,
    type: 'file',
    mode: 0,
    uid: 0,
    gid: 0,
    mtimeNs: 0n,
    size: 1,
    content: [content],
  } as const
  return { path: at, node, below: 0, files: 0, bytes: 0 }
}

function path(text: string): RawPath {
  const parsed = parseRawPath(asRaw(text))
  assert.ok(parsed)
  return parsed
}
