import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Attributes } from '../model/tree.ts'
import { type RawPath } from '../model/raw-path.ts'
import { applyExclusion, type ExclusionRules, openExclusion } from './exclusion.ts'
import { Listing } from './listing.ts'
import { rootRow } from './listing-row.ts'

const folder: Attributes = { type: 'dir', mode: 0o755, uid: 0, gid: 0, mtimeNs: 0n }
const file: Attributes = { type: 'file', mode: 0o644, uid: 0, gid: 0, mtimeNs: 0n, size: 1 }
const home = '/home/lab' as RawPath

function listingOf(paths: readonly string[]): Listing {
  const listing = new Listing()
  for (const path of paths)
    listing.add(path.replace(/\/$/, '') as RawPath, path.endsWith('/') ? folder : file)
  return listing
}

function rulesWith(rules: Partial<ExclusionRules>): ExclusionRules {
  return { never: [], exclude: [], defaults: true, ignoreFiles: new Map(), cacheFolders: new Set(), ...rules }
}

function keptAfter(listing: Listing, rules: ExclusionRules, explicit = false) {
  const excluded = applyExclusion(listing, home, openExclusion(rules, home, explicit))
  return {
    kept: [...listing.below(rootRow)]
      .filter((row) => listing.isKnown(row))
      .map((row) => listing.path(row))
      .sort(),
    rules: Object.fromEntries(excluded.map((each) => [each.path, each.rule])),
  }
}

test('browser caches and the trash are left out by default, and named so', () => {
  const paths = [
    '/home/lab/',
    '/home/lab/.cache/',
    '/home/lab/.cache/mozilla/',
    '/home/lab/.cache/mozilla/a',
    '/home/lab/.cache/mine',
  ]
  const { kept, rules } = keptAfter(listingOf(paths), rulesWith({}))
  assert.deepEqual(kept, ['/home/lab', '/home/lab/.cache', '/home/lab/.cache/mine'])
  assert.deepEqual(rules, { '/home/lab/.cache/mozilla': 'default: browser caches' })
})

test('what package managers fetch again is left out by default, and not what is nowhere else', () => {
  const left = [
    '.npm/_cacache/content-v2/',
    '.cache/pip/http/',
    '.cargo/registry/cache/x/',
    '.cache/go-build/0a/',
    '.cache/yarn/v6/',
  ]
  const stays = [
    '.npm/_logs/',
    '.cargo/bin/',
    '.cache/go-build/fuzz/',
    '.yarn/berry/cache/',
    '.local/share/pnpm/store/',
    'proj/.npm/_cacache/',
    'proj/node_modules/',
  ]
  const { kept, rules } = keptAfter(
    listingOf(['/home/lab/', ...withFoldersAbove([...left, ...stays])]),
    rulesWith({}),
  )
  for (const path of left) assert.ok(!kept.includes(`/home/lab/${path.slice(0, -1)}` as RawPath), path)
  for (const path of stays) assert.ok(kept.includes(`/home/lab/${path.slice(0, -1)}` as RawPath), path)
  assert.deepEqual(new Set(Object.values(rules)), new Set(['default: package caches']))
})

function withFoldersAbove(paths: readonly string[]): string[] {
  const all = paths.flatMap((path) => {
    const parts = path.slice(0, -1).split('/')
    return parts.map((_, index) => `/home/lab/${parts.slice(0, index + 1).join('/')}/`)
  })
  return [...new Set(all)]
}

test('an explicitly included folder is not subject to the defaults', () => {
  const paths = ['/home/lab/', '/home/lab/.cache/', '/home/lab/.cache/mozilla/']
  assert.equal(keptAfter(listingOf(paths), rulesWith({}), true).kept.length, 3)
})

test('the rule names the file, the line and the pattern', () => {
  const ignoreFiles = new Map([[home, Buffer.from('# objects\n*.o\n')]])
  const { rules } = keptAfter(
    listingOf(['/home/lab/', '/home/lab/x.o', '/home/lab/x.c']),
    rulesWith({ ignoreFiles }),
  )
  assert.deepEqual(rules, { '/home/lab/x.o': '/home/lab/.vmlignore:2 *.o' })
})

test('a deeper .vmlignore takes back what a higher one left out, with everything below', () => {
  const paths = [
    '/home/lab/',
    '/home/lab/p/',
    '/home/lab/p/build/',
    '/home/lab/p/build/x',
    '/home/lab/build/',
    '/home/lab/build/y',
  ]
  const ignoreFiles = new Map([
    [home, Buffer.from('build/\n')],
    ['/home/lab/p' as RawPath, Buffer.from('!build/\n')],
  ])
  const { kept } = keptAfter(listingOf(paths), rulesWith({ ignoreFiles }))
  assert.deepEqual(kept, ['/home/lab', '/home/lab/p', '/home/lab/p/build', '/home/lab/p/build/x'])
})

test('a tagged cache folder keeps the folder and its tag only', () => {
  const paths = ['/home/lab/', '/home/lab/c/', '/home/lab/c/CACHEDIR.TAG', '/home/lab/c/big']
  const { kept } = keptAfter(
    listingOf(paths),
    rulesWith({ cacheFolders: new Set(['/home/lab/c' as RawPath]) }),
  )
  assert.deepEqual(kept, ['/home/lab', '/home/lab/c', '/home/lab/c/CACHEDIR.TAG'])
})

test('a pattern does not take the tag itself: a restore could not tell the cache any more', () => {
  const paths = ['/home/lab/', '/home/lab/c/', '/home/lab/c/CACHEDIR.TAG', '/home/lab/c/big']
  const { kept } = keptAfter(
    listingOf(paths),
    rulesWith({ cacheFolders: new Set(['/home/lab/c' as RawPath]), exclude: ['*.TAG'] }),
  )
  assert.deepEqual(kept, ['/home/lab', '/home/lab/c', '/home/lab/c/CACHEDIR.TAG'])
})

test('what must never be captured stays out even where a rule takes it in', () => {
  const ignoreFiles = new Map([[home, Buffer.from('!keys\n')]])
  const never = [{ path: '/home/lab/keys' as RawPath, rule: 'never captured: keys' }]
  const { rules } = keptAfter(
    listingOf(['/home/lab/', '/home/lab/keys/', '/home/lab/keys/k']),
    rulesWith({ ignoreFiles, never }),
    true,
  )
  assert.deepEqual(rules, { '/home/lab/keys': 'never captured: keys' })
})

test('patterns are matched as bytes and with their case', () => {
  const paths = [
    '/home/lab/',
    '/home/lab/caf\xc3\xa9.o',
    '/home/lab/X.O',
    '/home/lab/bad\xff.o',
    '/home/lab/new\nline.o',
  ]
  const { kept } = keptAfter(listingOf(paths), rulesWith({ exclude: ['café.o', '*.o'] }))
  assert.deepEqual(kept, ['/home/lab', '/home/lab/X.O'])
})

test('what a restore left that was cut off is no part of an entry, and the entry says so', () => {
  const left = '/home/lab/.vml-restore-0123456789abcdef-7'
  const { kept, rules } = keptAfter(
    listingOf(['/home/lab/', left, '/home/lab/.vml-restore-mine', '/home/lab/x']),
    rulesWith({}),
    true,
  )
  assert.deepEqual(kept, ['/home/lab', '/home/lab/.vml-restore-mine', '/home/lab/x'])
  assert.deepEqual(rules, { [left]: 'left by a restore that was cut off' })
})
