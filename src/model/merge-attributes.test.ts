import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { asRaw } from '../base/raw-text.ts'
import { describeAttribute, mergeAttributes } from './merge-attributes.ts'
import type { Attributes } from './tree.ts'

const made = (some: Partial<Attributes> = {}): Attributes => ({
  type: 'file',
  mode: 0o644,
  uid: 0,
  gid: 0,
  mtimeNs: 0n,
  ...some,
})
const xattr = (name: string, value: string) => ({ name: asRaw(name), value: Buffer.from(value) })

test('mode, owner and attributes merge each by itself', () => {
  const merged = mergeAttributes({
    base: made({ mode: 0o755, xattrs: [xattr('user.k', '1')] }),
    ours: made({ mode: 0o755, uid: 7, xattrs: [xattr('user.k', '1'), xattr('user.later', '2')] }),
    theirs: made({ xattrs: [xattr('security.capability', '3')] }),
  })
  assert.deepEqual(merged, {
    attributes: {
      mode: 0o644,
      uid: 7,
      gid: 0,
      xattrs: [xattr('security.capability', '3'), xattr('user.later', '2')],
    },
    conflicts: [],
  })
})

test('what both changed is named and stays as it is now', () => {
  const merged = mergeAttributes({
    base: made({ mode: 0o755, gid: 1, xattrs: [xattr('user.x', '1')] }),
    ours: made({ mode: 0o700, gid: 2, xattrs: [xattr('user.x', '2')] }),
    theirs: made({ mode: 0o644, gid: 3, uid: 9 }),
  })
  assert.deepEqual(merged, {
    attributes: { mode: 0o700, uid: 9, gid: 2, xattrs: [xattr('user.x', '2')] },
    conflicts: ['mode', 'gid', 'xattr user.x'],
  })
})

test('what both changed is told in words a person understands', () => {
  const sides = {
    base: made({ mode: 0o600, uid: 1 }),
    ours: made({ mode: 0o4755, uid: 2, xattrs: [xattr('user.x', 'mine'), xattr('security.ima', '2')] }),
    theirs: made({ mode: 0o644, xattrs: [xattr('user.x', '\0'), xattr('security.ima', '3')] }),
  }
  const { conflicts } = mergeAttributes(sides)
  assert.deepEqual(
    conflicts.map((name) => describeAttribute(name, sides)),
    [
      'rights changed since, too: 4755 now, 644 before the transaction, 600 by it',
      'owner changed since, too: 2 now, 0 before the transaction, 1 by it',
      'attribute user.x changed since, too: "mine" now, 1 bytes before the transaction, none by it',
    ],
  )
})

test('rights of another type of thing are not taken over', () => {
  const merged = mergeAttributes({ base: made(), ours: made(), theirs: made({ type: 'dir', mode: 0o700 }) })
  assert.deepEqual(merged, { attributes: { mode: 0o644, uid: 0, gid: 0 }, conflicts: ['type'] })
})

test('with one side unchanged the other one is the result, whole', () => {
  const attributes = fc
    .record({
      mode: fc.constantFrom(0o644, 0o755, 0o4755),
      uid: fc.nat(2),
      gid: fc.nat(2),
      xattrs: fc.uniqueArray(fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.constantFrom('1', '2')), {
        selector: ([name]) => name,
      }),
    })
    .map(({ xattrs, ...rest }) =>
      made({
        ...rest,
        xattrs: xattrs
          .toSorted(([one], [two]) => (one < two ? -1 : 1))
          .map(([name, value]) => xattr(name, value)),
      }),
    )
  const shown = ({ mode, uid, gid, xattrs = [] }: Partial<Attributes>) => ({ mode, uid, gid, xattrs })
  fc.assert(
    fc.property(attributes, attributes, (one, other) => {
      for (const sides of [
        { base: one, ours: one, theirs: other },
        { base: one, ours: other, theirs: one },
        { base: one, ours: other, theirs: other },
      ]) {
        const { attributes, conflicts } = mergeAttributes(sides)
        assert.deepEqual([shown(attributes), conflicts], [shown(other), []])
      }
    }),
    { numRuns: 200 },
  )
})
