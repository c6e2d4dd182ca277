import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { isFailure } from '../base/failure.ts'
import { rawFromString, rawToBytes } from '../base/raw-text.ts'
import { parseRawPath, type RawPath } from '../model/raw-path.ts'
import { outlineOf, statusAt } from '../stage/fingerprint.ts'
import { openLibc } from '../wire/libc.ts'
import { copyLive, hashLive, readLive } from './live-content.ts'

test('of a file that its owner swaps for another one, by a link, a folder on the way or a pipe, nothing is read', () => {
  for (const swap of [
    'ln -sfn ../../secret home/a/f',
    'mv home/a home/x; ln -s ../private home/a',
    'rm home/a/f; mkfifo home/a/f',
    'cp private/f home/a/n; mv home/a/n home/a/f',
  ]) {
    using bench = openBench()
    const { place, path, looked, sh } = bench
    sh(swap)
    const refused = (act: () => unknown) =>
      assert.throws(act, (error) => isFailure(error, 'conflict') || /ELOOP/.test(String(error)), swap)
    refused(() => hashLive(place, path, looked))
    refused(() => readLive(place, path, looked))
    refused(() => copyLive(place, { path, sha256: looked.sha256 }, () => assert.fail('read')))
  }
})

test('what is still what was looked at is read, hashed and copied', () => {
  using bench = openBench()
  const { place, path, looked } = bench
  assert.equal(hashLive(place, path, looked), looked.sha256)
  assert.equal(readLive(place, path, looked).toString(), 'mine')
  copyLive(place, { path, sha256: looked.sha256 }, (from) =>
    assert.equal(readFileSync(rawToBytes(from), 'utf8'), 'mine'),
  )
})

function openBench() {
  const folder = mkdtempSync(join(tmpdir(), 'vml-live-'))
  const sh = (script: string) => execFileSync('sh', ['-ec', script], { cwd: folder })
  sh('mkdir -p home/a private; printf mine >home/a/f; printf secret >private/f; chown 1234 home home/a')
  const libc = openLibc(tmpdir())
  assert.ok(libc)
  const place = { root: pathOf(folder), libc }
  const path = pathOf('/home/a/f')
  const at = pathOf(`${folder}/home/a/f`)
  const status = statusAt(libc, at)
  assert.ok(status)
  const sha256 = hashLive(place, path, outlineOf(libc, at, status))
  const looked = { ...outlineOf(libc, at, status), sha256 }
  return { place, path, looked, sh, [Symbol.dispose]: () => rmSync(folder, { recursive: true }) }
}

function pathOf(text: string): RawPath {
  const path = parseRawPath(rawFromString(text))
  assert.ok(path)
  return path
}
