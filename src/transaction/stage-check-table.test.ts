import assert from 'node:assert/strict'
import { test } from 'node:test'
import { rawFromString } from '../base/raw-text.ts'
import { parseRawPath, rootPath } from '../model/raw-path.ts'
import { stageChecks } from './stage-check-table.ts'

const dueFor = (path: string) => stageChecks.filter(({ due }) => due.test(path)).map(({ name }) => name)

test('C03: a program is asked only where files of its own changed', () => {
  assert.deepEqual(dueFor('/etc/ssh/sshd_config.d/mine.conf'), ['sshd -t'])
  assert.deepEqual(dueFor('/etc/sudoers.d/me'), ['visudo -c'])
  assert.deepEqual(dueFor('/etc/nginx/nginx.conf'), ['nginx -t'])
  assert.deepEqual(dueFor('/etc/apache2/ports.conf'), ['apache2ctl configtest'])
  assert.deepEqual(dueFor('/etc/bind/named.conf'), ['named-checkconf'])
  assert.deepEqual(dueFor('/etc/postfix/main.cf'), ['postfix check'])
  assert.deepEqual(dueFor('/lib/systemd/system/one.service'), ['systemd-analyze verify'])
  assert.deepEqual(dueFor('/etc/systemd/system/multi-user.target.wants/one.service'), [])
  assert.deepEqual(dueFor('/etc/hosts'), [])
})

test('C03: systemd is asked of the units that are there afterwards, by names that are plain', () => {
  const [verify] = stageChecks.filter(({ name }) => name === 'systemd-analyze verify')
  const paths = ['/etc/systemd/system/a.service', '/etc/systemd/system/ü.service'].map(
    (path) => parseRawPath(rawFromString(path)) ?? rootPath,
  )
  assert.deepEqual(verify?.argv(paths)?.slice(2), ['--man=no', '/etc/systemd/system/a.service'])
  assert.equal(verify?.argv([]), undefined)
})
