import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { compareApkVersions } from './version-apk.ts'
import { compareDpkgVersions } from './version-dpkg.ts'
import { compareVersions } from './version-order.ts'
import { compareRpmVersions } from './version-rpm.ts'

type Pair = readonly [string, string]

const pairsPerBatch = 250

test('dpkg: any two versions stand as dpkg --compare-versions puts them', () => {
  const script =
    'while read -r a b; do if dpkg --compare-versions "$a" lt "$b"; then echo -1; ' +
    'elif dpkg --compare-versions "$a" gt "$b"; then echo 1; else echo 0; fi; done'
  const part = fc.string({ unit: fc.constantFrom(...'0019aZz.+~'.split('')), maxLength: 7 })
  const version = fc
    .record({
      epoch: fc.option(fc.constantFrom('0', '1', '10'), { nil: undefined }),
      upstream: part,
      revision: fc.option(
        part.map((text) => `${text}1`),
        { nil: undefined },
      ),
    })
    .map(({ epoch, upstream, revision }) =>
      [
        epoch === undefined ? '' : `${epoch}:`,
        `0${upstream}`,
        revision === undefined ? '' : `-${revision}`,
      ].join(''),
    )
  agrees(version, compareDpkgVersions, (input) => run('sh', ['-c', script], input), 12)
})

test('rpm: any two versions and releases stand as rpm.vercmp puts them', () => {
  const version = fc.string({
    unit: fc.constantFrom(...'0019aZz.+~^_'.split('')),
    minLength: 1,
    maxLength: 8,
  })
  const evr = fc
    .record({
      epoch: fc.option(fc.constantFrom('0', '2', '10'), { nil: undefined }),
      version: version.map((text) => `1${text}`),
      release: fc.option(version, { nil: undefined }),
    })
    .map(({ epoch, version, release }) =>
      [epoch === undefined ? '' : `${epoch}:`, version, release === undefined ? '' : `-${release}`].join(''),
    )
  agrees(evr, compareRpmVersions, rpmOrder, 40)
})

test('rpm: what its manual says of tilde, caret, letters and leading zeros holds', () => {
  ascending(compareRpmVersions, ['1.0~rc1', '1.0', '1.0^git1', '1.0^git2', '1.0.1'])
  ascending(compareRpmVersions, ['5.0000503', '5.6e3', '5.504'].toSorted(compareRpmVersions))
  assert.equal(compareRpmVersions('5.6', '5.0000503'), -1)
  assert.equal(compareRpmVersions('1.0-1', '1.0'), 0, 'no release is any release')
  ascending(compareRpmVersions, ['9:1', '10:1'])
})

// apk is no program of Debian's. The expectations were found with apk-tools' own comparison (version 3, commit
// 90b974fd, built for the purpose), from its manual's rules; 30,000 generated pairs were compared once in the same way.
test('apk: each rule of its manual holds', () => {
  ascending(compareApkVersions, [
    '1.0_alpha',
    '1.0_alpha1',
    '1.0_alpha2',
    '1.0_beta',
    '1.0_pre',
    '1.0_rc',
    '1.0_rc1',
    '1.0',
    '1.0-r1',
    '1.0-r2',
    '1.0-r10',
    '1.0~abc',
    '1.0_cvs',
    '1.0_svn',
    '1.0_git20240101',
    '1.0_hg',
    '1.0_p',
    '1.0_p1',
    '1.0a',
    '1.0b',
    '1.0.1',
    '1.01',
    '1.1',
    '1.9',
    '1.10',
    '2',
    '10',
  ])
  for (const [left, right] of [
    ['1.0', '1.0'],
    ['01', '1'],
    ['1.0-r01', '1.0-r1'],
    ['x', 'y'],
  ] as const)
    assert.equal(compareApkVersions(left, right), 0, `${left} and ${right}`)
  ascending(compareApkVersions, ['1.0_foo', '1.0'])
})

test('versions of any length are compared, and a machine with another manager has another order', () => {
  const long = `1.${'9'.repeat(5000)}`
  assert.equal(compareVersions('dpkg', long, `${long}9`), -1)
  assert.equal(compareVersions('rpm', long, `${long}9`), -1)
  assert.equal(compareVersions('apk', long, `${long}9`), -1)
  assert.equal(compareVersions('dpkg', '1.0', '1.0+b1'), -1)
  assert.equal(compareVersions('rpm', '1.0a', '1.0.1'), -1)
  assert.equal(compareVersions('dpkg', '1.0a', '1.0.1'), -1)
  assert.equal(compareVersions('apk', '1.0a', '1.0.1'), -1)
})

/** Holds our order against the program's, many pairs for one start of it. */
function agrees(
  version: fc.Arbitrary<string>,
  compare: (left: string, right: string) => number,
  oracle: (input: string, pairs: readonly Pair[]) => number[],
  batches: number,
): void {
  // Neighbours differ in few characters, as versions of one package do.
  const near = fc
    .tuple(version, version, fc.nat(8))
    .map(([left, right, cut]): Pair => [left, left.slice(0, cut + 1) + right.slice(cut + 1)])
  const pair = fc
    .oneof(fc.tuple(version, version), near)
    .filter(([left, right]) => [left, right].every((text) => isPlain(text)))
  fc.assert(
    fc.property(fc.array(pair, { minLength: pairsPerBatch, maxLength: pairsPerBatch }), (pairs) => {
      const answers = oracle(pairs.map((words) => `${words.join(' ')}\n`).join(''), pairs)
      assert.equal(answers.length, pairs.length)
      for (const [index, [left, right]] of pairs.entries())
        assert.equal(compare(left, right), answers[index], `${left} against ${right}`)
    }),
    { numRuns: batches, endOnFailure: true },
  )
}

/** One epoch in front, one hyphen, a digit first: what both programs take without complaint. */
function isPlain(version: string): boolean {
  return /^(\d+:)?\d[^:-]*(-[^:-]+)?$/.test(version)
}

function ascending(compare: (left: string, right: string) => number, versions: readonly string[]): void {
  for (const [i, left] of versions.entries())
    for (const [j, right] of versions.entries())
      assert.equal(compare(left, right), Math.sign(i - j), `${left} against ${right}`)
}

/** Epoch, version and release as rpm compares them, by its own comparison of each. */
function rpmOrder(_input: string, pairs: readonly Pair[]): number[] {
  const list = pairs.map((pair) => pair.flatMap(fields).map((text) => `"${text}"`))
  const rows = list.map((texts) => `{${texts.join(',')}}`).join(',')
  const script =
    `for _, p in ipairs({${rows}}) do local r = rpm.vercmp(p[1], p[4]) ` +
    'if r == 0 then r = rpm.vercmp(p[2], p[5]) end ' +
    'if r == 0 and p[3] ~= "" and p[6] ~= "" then r = rpm.vercmp(p[3], p[6]) end print(r .. " ") end'
  return run('rpm', ['--eval', `%{lua:${script}}`], '')
}

function fields(version: string): string[] {
  const match = /^(?:(\d+):)?([^-]*)(?:-(.*))?$/.exec(version)
  return [match?.[1] ?? '0', match?.[2] ?? '', match?.[3] ?? '']
}

function run(program: string, words: readonly string[], input: string): number[] {
  const { status, stdout, stderr, error } = spawnSync(program, words, { input, encoding: 'utf8' })
  assert.equal(error, undefined)
  assert.equal(status, 0, stderr)
  return stdout
    .split(/\s+/)
    .filter((word) => word !== '')
    .map(Number)
}
