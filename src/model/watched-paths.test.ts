import assert from 'node:assert/strict'
import { test } from 'node:test'
import { rawFromString } from '../base/raw-text.ts'
import { parseRawPath, rootPath, type RawPath } from './raw-path.ts'
import { isWatched, keptBytesMax, type WatchRules } from './watched-paths.ts'

const pathOf = (text: string): RawPath => parseRawPath(rawFromString(text)) ?? rootPath
const rules: WatchRules = {
  extra: [],
  isPackaged: (path) => path === '/var/lib/nginx/index' || path === '/usr/bin/joe',
}

test('configuration, programs, books of the system and what a package put among the data of a service are watched', () => {
  for (const path of [
    '/etc/hosts',
    '/etc/rpm/macros',
    '/usr/lib/python3/dist-packages/dnf-plugins/copr.py',
    '/etc/.gitignore',
    '/boot/config-6.1',
    '/usr/bin/joe',
    '/usr/local/bin/tool',
    '/opt/tool/run',
    '/var/lib/dpkg/status',
    '/var/lib/apt/extended_states',
    '/var/cache/debconf/config.dat',
    '/var/lib/nginx/index',
    '/var/www/html/index.html',
    '/etc/vml/config.toml',
    '/rooted',
    '/.cache/vml',
    '/.cache/vml/codes',
    '/opt/copy/.cache/vml/code/a',
    '/homes',
  ])
    assert.equal(isWatched(pathOf(path), rules), true, path)
})

test('logs, caches, homes, data of services, what is made anew and what VML put there are not', () => {
  for (const path of [
    '/var/log/syslog',
    '/var/lib/rpm/rpmdb.sqlite',
    '/var/lib/dnf/history.sqlite',
    '/etc/rpm/macros.vml',
    '/usr/lib/python3.13/site-packages/dnf-plugins/vml.py',
    '/usr/lib/python3.13/site-packages/dnf-plugins/__pycache__/vml.cpython-313.pyc',
    '/etc/.git/objects/06/357248',
    '/etc/.etckeeper',
    '/var/cache/apt/pkgcache.bin',
    '/var/cache/debconf/config.dat-old',
    '/tmp/a',
    '/var/tmp/a',
    '/run/a',
    '/home/joe/a',
    '/root',
    '/root/a',
    '/srv/a',
    '/var/lib/postgresql/15/main/base',
    '/etc/ld.so.cache',
    '/etc/passwd-',
    '/var/lib/dpkg/lock',
    '/var/lib/dpkg/status-old',
    '/var/lib/systemd/timers/stamp-x',
    '/usr/lib/python3/dist-packages/__pycache__/a.pyc',
    '/var/lib/vml/logbook/config',
    '/usr/lib/vml/hook',
    '/etc/vml',
    '/etc/vml/watch.d/paths',
    '/etc/apt/apt.conf.d/00vml',
    '/boot/.vml-stage/upper/a',
    '/.cache/vml/code',
    '/nonexistent/.cache/vml/code/v26.10.0-x64-310b2ce3-0/df0f83bf',
    '/etc/systemd/system/vml-watch.timer',
  ])
    assert.equal(isWatched(pathOf(path), rules), false, path)
})

test('what the user added is watched wherever it lies, but for what is VML own', () => {
  const added = { ...rules, extra: ['/home/joe/site', '/home/ann', '/var/lib', '/root/notes'].map(pathOf) }
  for (const path of ['/home/joe/site', '/home/joe/site/a', '/var/lib/postgresql/15', '/root/notes'])
    assert.equal(isWatched(pathOf(path), added), true, path)
  for (const path of [
    '/home/joe/sites',
    '/home/joe',
    '/var/lib/vml/index',
    '/root/notes2',
    '/home/ann/.cache/vml/code/a',
  ])
    assert.equal(isWatched(pathOf(path), added), false, path)
})

test('contents are kept of books and configuration, of little else, and of nothing that a package has', () => {
  const mebibyte = 1024 * 1024
  assert.equal(keptBytesMax(pathOf('/etc/hosts'), rules), 16 * mebibyte)
  assert.equal(keptBytesMax(pathOf('/usr/local/bin/tool'), rules), mebibyte)
  assert.equal(keptBytesMax(pathOf('/usr/bin/joe'), rules), 0)
  assert.equal(keptBytesMax(pathOf('/usr/bin/joe'), { ...rules, extra: [pathOf('/usr/bin')] }), 16 * mebibyte)
})
