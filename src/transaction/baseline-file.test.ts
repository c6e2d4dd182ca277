import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { isFailure } from '../base/failure.ts'
import { rawFromString } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { Fingerprint } from '../model/transaction.ts'
import {
  type Baseline,
  contentBytes,
  contentIn,
  decodeBaseline,
  encodeBaseline,
  fingerprintIn,
  lineOf,
  packContent,
} from './baseline-file.ts'

const attributes = { mode: 0o644, uid: 0, gid: 0, mtimeNs: 1n, ctimeNs: 2n, inode: 3n } as const
const contents = fc.dictionary(fc.stringMatching(/^[a-z]{1,8}$/), fc.uint8Array({ maxLength: 100 }), {
  maxKeys: 8,
  noNullPrototype: true,
})

function baselineOf(files: Readonly<Record<string, Uint8Array>>): Baseline {
  const fingerprints = new Map<RawPath, Fingerprint>([
    ['/link' as RawPath, { ...attributes, type: 'symlink', linkTarget: 'x' as RawPath }],
  ])
  const packed = new Map<string, Uint8Array>()
  for (const [name, content] of Object.entries(files)) {
    const sha256 = hash('sha256', content, 'hex')
    fingerprints.set(`/etc/${name}` as RawPath, { ...attributes, type: 'file', size: content.length, sha256 })
    packed.set(sha256, packContent(content))
  }
  const lines = new Map([...fingerprints].map(([path, is]) => [path, lineOf(path, is)]))
  return { lines, contents: packed }
}

test('what is kept reads back as it was written, without contents that nobody has any more', () => {
  fc.assert(
    fc.property(contents, (files) => {
      const baseline = baselineOf(files)
      const unused = packContent(Buffer.from('unused and longer than any of the others'))
      const withUnused = { ...baseline, contents: new Map([['0'.repeat(64), unused], ...baseline.contents]) }
      const back = decodeBaseline(encodeBaseline(withUnused))
      assert.deepEqual(back.lines, baseline.lines)
      assert.deepEqual(new Set(back.contents.keys()), new Set(baseline.contents.keys()))
      const sizes = Object.values(files).map(({ length }) => length)
      assert.equal(
        contentBytes(back),
        sizes.reduce((sum, size) => sum + size, 0),
      )
      for (const [path, is] of fingerprintsOf(back))
        if (is?.type === 'file')
          assert.deepEqual(contentIn(back, is), Buffer.from(files[path.slice('/etc/'.length)] ?? []))
    }),
  )
})

test('what is cut off or altered is refused, or a content is told to be gone; never is another one given', () => {
  fc.assert(
    fc.property(
      contents,
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
      fc.boolean(),
      (files, place, flip, cut) => {
        const file = encodeBaseline(baselineOf(files))
        const at = place % file.length
        if (!cut) file[at] = (file[at] ?? 0) ^ flip
        let back: Baseline
        try {
          back = decodeBaseline(cut ? file.subarray(0, at) : file)
        } catch (error) {
          if (!isFailure(error, 'integrity.format')) throw error
          return
        }
        assert.ok(!cut)
        for (const [path, is] of fingerprintsOf(back)) {
          if (is?.type !== 'file') continue
          const content = contentIn(back, is)
          if (content) assert.deepEqual(content, Buffer.from(files[path.slice('/etc/'.length)] ?? []))
        }
      },
    ),
  )
})

function fingerprintsOf(baseline: Baseline): [RawPath, Fingerprint | undefined][] {
  return [...baseline.lines.keys()].map((path) => [path, fingerprintIn(baseline, path)])
}

test('a line is found by its path, whatever bytes it has and whatever its target says', () => {
  const segment = fc.oneof(
    fc.constantFrom('a', 'b"c', '","sha256":"', '\\', '\n', 'é', '\u00ff'),
    fc.stringMatching(/^[a-z "{}:,]{1,8}$/),
  )
  const names = fc.array(fc.array(segment, { minLength: 1, maxLength: 3 }), { maxLength: 6 })
  fc.assert(
    fc.property(names, fc.string({ maxLength: 20 }), (paths, target) => {
      const link = {
        ...attributes,
        type: 'symlink',
        linkTarget: rawFromString(`"sha256":"${target}`),
      } as const
      const lines = new Map(
        paths.map((parts) => {
          const path = rawFromString(`/${parts.join('')}`) as string as RawPath
          return [path, lineOf(path, link)]
        }),
      )
      const back = decodeBaseline(encodeBaseline({ lines, contents: new Map() }))
      assert.deepEqual(new Map(back.lines), lines)
      assert.equal(contentBytes(back), 0)
      for (const path of lines.keys()) assert.deepEqual(fingerprintIn(back, path), link)
    }),
  )
})

test('what cannot be read again is not written: the longest lines are left out, all others are there', () => {
  fc.assert(
    fc.property(contents, fc.nat({ max: 2000 }), (files, bytesMax) => {
      const baseline = baselineOf(files)
      const back = decodeBaseline(encodeBaseline(baseline, bytesMax), bytesMax)
      const lengths = (lines: Iterable<string>) => [...lines].map(({ length }) => length)
      const left = [...baseline.lines].filter(([path]) => !back.lines.has(path)).map(([, line]) => line)
      const bytes = lengths(back.lines.values()).reduce((sum, length) => sum + length, 0)
      assert.ok(bytes <= bytesMax)
      if (left.length === 0) return
      assert.ok(bytes + Math.min(...lengths(left)) > bytesMax)
      assert.ok(Math.min(...lengths(left)) >= Math.max(0, ...lengths(back.lines.values())))
    }),
  )
})
