import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { asRaw } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { Fingerprint } from '../model/transaction.ts'
import { requireBootImages } from './boot-images.ts'

const file: Fingerprint = { type: 'file', mode: 0o644, uid: 0, gid: 0, mtimeNs: 0n }
const hook = '/usr/share/initramfs-tools/hooks/cryptroot'

function commits(there: readonly string[], made: readonly string[], gone: readonly string[] = []): boolean {
  const root = mkdtempSync(join(tmpdir(), 'vml-boot-images-'))
  try {
    for (const path of there) {
      mkdirSync(join(root, path, '..'), { recursive: true })
      writeFileSync(join(root, path), '')
    }
    const place = { root: asRaw(root) as RawPath }
    const changes = [
      ...made.map((path) => ({ path: asRaw(path) as RawPath, after: file })),
      ...gone.map((path) => ({ path: asRaw(path) as RawPath })),
    ]
    requireBootImages(place, changes)
    return true
  } catch (error) {
    assert.match(String(error), /cannot know on what "\/" lies/)
    return false
  } finally {
    rmSync(root, { recursive: true })
  }
}

test('an initrd of initramfs-tools is committed, unless it opens an encrypted "/"', () => {
  assert.equal(commits([], ['/boot/initrd.img-6.1', '/boot/vmlinuz-6.1']), true)
  assert.equal(commits([hook], ['/boot/initrd.img-6.1']), false)
  assert.equal(commits([], ['/boot/initrd.img-6.1', hook]), false)
})

test('an image of dracut is never committed: it holds what this host needs, told by its mounts', () => {
  assert.equal(commits([], ['/boot/initramfs-6.1.x86_64.img']), false)
  assert.equal(commits([], ['/boot/initrd-6.4-default']), false)
})

test('an image that goes, and one elsewhere, is no matter', () => {
  assert.equal(
    commits([hook], ['/srv/boot/initrd.img-6.1', '/boot/initrd.img'], ['/boot/initrd.img-6.1']),
    true,
  )
})
