import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { printable, rawFromString } from '../base/raw-text.ts'
import { parseRawPath, rootPath } from '../model/raw-path.ts'
import { buildDeb } from './deb.fixture.ts'
import { readDpkgFiles } from './dpkg-files.ts'
import { verifyFiles } from './verify-files.ts'

test('what differs from the packages is found as dpkg --verify finds it, and a link in place of a file too', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'vml-verify-'))
  try {
    const root = join(folder, 'root')
    for (const path of ['var/lib/dpkg/info', 'var/lib/dpkg/updates'])
      mkdirSync(join(root, path), { recursive: true })
    writeFileSync(join(root, 'var/lib/dpkg/status'), '')
    const dpkg = [`--root=${root}`, `--log=${join(folder, 'log')}`, '--force-not-root', '--force-bad-path']
    const files = {
      'usr/same': 'same',
      'usr/changed': 'before',
      'usr/gone': 'gone',
      'usr/linked': 'linked',
      'usr/folder/é': 'x',
      'etc/same.conf': 'same',
      'etc/changed.conf': 'before',
    }
    execFileSync('dpkg', [...dpkg, '-i', buildDeb(join(folder, 'a.deb'), { name: 'a', files })], {
      stdio: 'pipe',
    })
    writeFileSync(join(root, 'usr/changed'), 'after')
    writeFileSync(join(root, 'etc/changed.conf'), 'after')
    for (const path of ['usr/gone', 'usr/folder', 'usr/linked']) rmSync(join(root, path), { recursive: true })
    symlinkSync('same', join(root, 'usr/linked'))
    const place = parseRawPath(rawFromString(root)) ?? rootPath
    const found: string[] = []
    for await (const { path, problem, isConffile } of verifyFiles(place, readDpkgFiles(place)))
      found.push(`${problem} ${isConffile ? 'c ' : ''}${printable(path)}`)
    assert.deepEqual(found.toSorted(), [
      'content /usr/changed',
      'content c /etc/changed.conf',
      'missing /usr/folder',
      'missing /usr/folder/é',
      'missing /usr/gone',
      'type /usr/linked',
    ])
    const { stdout } = spawnSync('dpkg', [...dpkg, '--verify'], { encoding: 'utf8' })
    const told = stdout.split('\n').map((line) =>
      line
        .replace(/^\?\?5\?{6}/, 'content')
        .replace(/ {2,}/g, ' ')
        .trim(),
    )
    assert.deepEqual(
      told.filter((line) => line !== '' && !line.includes('linked') && !line.includes('folder')).toSorted(),
      ['content /usr/changed', 'content c /etc/changed.conf', 'missing /usr/gone'],
    )
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
