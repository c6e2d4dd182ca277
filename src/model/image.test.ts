import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isFailure } from '../base/failure.ts'
import { findImage, normalArchitecture, resolveImage, type ImageRecord } from './image.ts'

function image(name: string, version: string, sha: string, more: Partial<ImageRecord> = {}): ImageRecord {
  const items = { disk: { sha256: sha.repeat(64), sizeBytes: 1, urls: ['http://127.0.0.1/x'] } }
  return { name, version, arch: 'x86_64', format: 'qcow2', items, seed: 'baked', ...more }
}

const reference = { name: 'tiny', version: '1' }

test('an image is looked for by digest here, by digest in the catalogues, then by name and version', () => {
  const here = image('other', '9', 'a')
  const there = image('tiny', '1', 'a')
  const byName = image('tiny', '1', 'b')
  const request = { sha256: 'a'.repeat(64), reference }
  assert.deepEqual(resolveImage(request, { local: [byName, here], catalogues: [there] }), {
    record: here,
    where: 'local',
    by: 'digest',
    digestDiffers: false,
  })
  assert.equal(resolveImage(request, { local: [byName], catalogues: [there] }).record, there)
  const last = resolveImage(request, { local: [], catalogues: [byName] })
  assert.deepEqual([last.record, last.by, last.digestDiffers], [byName, 'name', true])
})

test('a local image wins over the same name and version in a catalogue', () => {
  const local = image('tiny', '1', 'a')
  const found = resolveImage({ reference }, { local: [local], catalogues: [image('tiny', '1', 'b')] })
  assert.deepEqual([found.record, found.where, found.digestDiffers], [local, 'local', false])
})

test('another version is never taken, and the failure names the versions there are in order', () => {
  const known = {
    local: [image('tiny', '10', 'a')],
    catalogues: [image('tiny', '2', 'b'), image('tiny', '10', 'a')],
  }
  assert.throws(
    () => resolveImage({ reference }, known),
    (error) => isFailure(error, 'image.unobtainable') && error.message.includes('2, 10'),
  )
  assert.throws(
    () => resolveImage({ reference }, { local: [], catalogues: [] }),
    /no local image and no catalogue/,
  )
})

test('another architecture is not taken, and an alias is as good as the name', () => {
  const known = {
    local: [],
    catalogues: [image('debian-12', '1', 'a', { aliases: ['tiny'], arch: 'aarch64' })],
  }
  assert.equal(findImage({ reference, arch: 'x86_64' }, known), undefined)
  assert.equal(findImage({ reference, arch: 'aarch64' }, known)?.record, known.catalogues[0])
  assert.equal(normalArchitecture('amd64'), 'x86_64')
})
