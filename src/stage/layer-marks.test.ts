import assert from 'node:assert/strict'
import { test } from 'node:test'
import { rawFromString } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { Fingerprint, PathChange } from '../model/transaction.ts'
import { hasSetMarks, losesMarks, withMarksOf } from './layer-marks.ts'

const at = (path: string) => rawFromString(path) as RawPath
const thing = (type: 'dir' | 'file', ...marks: readonly string[]): Fingerprint => ({
  ...{ type, mode: 0o755, uid: 0, gid: 0, mtimeNs: 0n },
  ...(marks.length === 0
    ? {}
    : { xattrs: marks.map((name) => ({ name: rawFromString(name), value: Buffer.from('y') })) }),
})
const opaque = 'trusted.overlay.opaque'
const gone = (path: string, before: Fingerprint): PathChange => ({ path: at(path), before })
const came = (path: string, after: Fingerprint): PathChange => ({ path: at(path), after })

test('marks of a lower thing stay with it, and those of the stage are none of it', () => {
  const upper = thing('dir', 'user.note', 'trusted.overlay.origin')
  const names = (found: Fingerprint) => (found.xattrs ?? []).map(({ name }) => String(name))
  assert.deepEqual(names(withMarksOf(thing('dir', opaque, 'user.gone'), upper)), ['user.note', opaque])
  assert.deepEqual(names(withMarksOf(thing('file', opaque), upper)), ['user.note'])
  assert.ok(hasSetMarks(undefined, thing('dir', 'trusted.overlay.overlay.opaque')))
  const nested = thing('dir', 'trusted.overlay.overlay.opaque')
  assert.ok(!hasSetMarks(nested, nested))
})

test('marks are lost where a marked thing may have been moved or has a new content, and not where it is only removed', () => {
  const marked = thing('dir', opaque)
  const plain = thing('dir')
  const removed = [gone('/a', plain), gone('/a/d', marked)]
  assert.equal(losesMarks(removed), undefined)
  assert.equal(losesMarks([...removed, came('/x', thing('file'))]), undefined)
  assert.equal(losesMarks([...removed, came('/b', plain), came('/b/d', plain)]), '/a/d')
  assert.equal(losesMarks([gone('/a', marked), came('/b', plain)]), '/a')
  assert.equal(losesMarks([{ path: at('/a'), before: marked, after: { ...marked, mode: 0o700 } }]), undefined)
  const file = thing('file', 'trusted.overlay.metacopy')
  assert.equal(losesMarks([{ path: at('/f'), before: file, after: { ...file, size: 3 } }]), '/f')
  const numbered = thing('file', 'trusted.overlay.origin')
  assert.equal(losesMarks([{ path: at('/f'), before: numbered, after: { ...numbered, size: 3 } }]), undefined)
})
