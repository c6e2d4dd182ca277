import assert from 'node:assert/strict'
import { test } from 'node:test'
import { asRaw } from '../base/raw-text.ts'
import { parseRawPath, type RawPath } from './raw-path.ts'
import { dataFolderOf, isData } from './service-data.ts'

test('what a service keeps below /var/lib is data, with its whole folder', () => {
  assert.equal(dataFolderOf(pathOf('/var/lib/postgresql/15/main/base/1')), '/var/lib/postgresql')
  assert.equal(dataFolderOf(pathOf('/var/lib/docker')), '/var/lib/docker')
  assert.ok(isData(pathOf('/var/lib/mysql/ibdata1'), () => false))
})

test('the books of the system, and files that come with a package, are none', () => {
  for (const path of [
    '/var/lib/dpkg/status',
    '/var/lib/systemd/x',
    '/var/lib/shells.state',
    '/var/lib',
    '/etc/mysql/x',
    '/usr/var/lib/x',
  ])
    assert.equal(dataFolderOf(pathOf(path)), undefined, path)
  assert.ok(!isData(pathOf('/var/lib/ghost/theme.css'), (path) => path === '/var/lib/ghost/theme.css'))
})

function pathOf(path: string): RawPath {
  const parsed = parseRawPath(asRaw(path))
  assert.ok(parsed !== undefined)
  return parsed
}
