import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { rawFromString } from '../base/raw-text.ts'
import { policyScript } from './policy-rc.ts'
import { planServices, queueBytesMax } from './service-queue.ts'

const planned = (lines: readonly string[], systemd = true) =>
  planServices(rawFromString(`${lines.join('\n')}\n`), { systemd })
const commands = (lines: readonly string[]) => {
  const { stops, reload = [], starts } = planned(lines)
  return [...stops.map(({ command }) => command), reload, ...starts.map(({ command }) => command)].map(
    (each) => each.join(' '),
  )
}

test('each service is asked once, what ends before systemd looks again, the rest in the order of the last request', () => {
  assert.deepEqual(
    commands([
      'nginx.service\tstop',
      'old.service\tstop',
      'cron\trestart',
      'nginx.service\tstart',
      'ssh.socket\ttry-restart',
      'cron\tstart',
      'rsyslog\trotate',
    ]),
    [
      'deb-systemd-invoke stop old.service',
      'systemctl daemon-reload',
      'deb-systemd-invoke restart nginx.service',
      'deb-systemd-invoke try-restart ssh.socket',
      'invoke-rc.d cron restart',
      'invoke-rc.d rsyslog reload',
    ],
  )
  assert.equal('reload' in planned(['a\tstart'], false), false)
})

test('an init script that a unit stands for, and that unit, are one service where systemd runs', () => {
  assert.deepEqual(commands(['one\tstart', 'one.service\trestart', 'one\tstart']), [
    'systemctl daemon-reload',
    'deb-systemd-invoke restart one.service',
  ])
  assert.equal(planned(['one\tstart', 'one.service\trestart'], false).starts.length, 2)
})

test('two requests to one service come to what the machine would be in after both', () => {
  const one = (...words: readonly string[]) => {
    const { stops, starts } = planned(words.map((word) => `a\t${word}`))
    return [...stops, ...starts].map(({ action }) => action)
  }
  assert.deepEqual(one('stop', 'start'), ['restart'])
  assert.deepEqual(one('stop', 'try-restart'), ['stop'])
  assert.deepEqual(one('start', 'stop'), ['stop'])
  assert.deepEqual(one('start', 'reload'), ['start'])
  assert.deepEqual(one('start', 'force-reload'), ['restart'])
  assert.deepEqual(one('reload', 'try-restart'), ['try-restart'])
  assert.deepEqual(one('reload', 'start'), ['restart'])
  assert.deepEqual(one('try-restart', 'restart', 'reload'), ['restart'])
  assert.deepEqual(one('stop start'), ['restart'])
})

test('what systemctl was asked for is asked of systemctl again, patterns and the manager itself included', () => {
  assert.deepEqual(
    commands([
      'old.service\tstop\tsystemctl',
      '\tdaemon-reload\tsystemctl',
      'web.service\treload\tsystemctl',
      'worker@*.service\ttry-restart\tsystemctl',
      'cron.service\trestart',
    ]),
    [
      'systemctl stop -- old.service',
      'systemctl daemon-reload',
      'systemctl try-reload-or-restart -- web.service',
      'systemctl try-restart -- worker@*.service',
      'deb-systemd-invoke restart cron.service',
    ],
  )
  assert.deepEqual(commands(['\tdaemon-reexec\tsystemctl', '\tdaemon-reload\tsystemctl']), [
    'systemctl daemon-reexec',
  ])
})

test('a line that asks for nothing we know becomes no command, and is told', () => {
  const lines = [
    'a',
    '--now\tstart',
    'a b\tstart',
    '../x\tstart',
    'a\tdestroy',
    '\xff\tstart',
    'a\tstart\tmore',
    'a\tstart\tsystemctl\tmore',
    '\tpoweroff\tsystemctl',
    '\tdaemon-reload',
  ]
  const { stops, starts, unknown } = planServices(lines.join('\n') as ReturnType<typeof rawFromString>, {
    systemd: true,
  })
  assert.deepEqual([stops, starts, unknown], [[], [], lines])
  const long = planned([`a\tstart`, 'x'.repeat(queueBytesMax), 'b\tstart'])
  assert.deepEqual(
    long.starts.map(({ service }) => service),
    ['a'],
  )
})

test('the policy script forbids everything and writes down what was asked', () => {
  const folder = mkdtempSync(join(tmpdir(), 'vml-policy-'))
  try {
    const queue = join(folder, 'queue')
    writeFileSync(queue, '')
    for (const words of [
      ['nginx.service', 'restart'],
      ['--quiet', 'cron', 'stop start', '2'],
      ['--list', 'cron'],
      [],
    ]) {
      const { status, stdout, stderr } = spawnSync('sh', ['-c', policyScript(queue), 'policy-rc.d', ...words])
      assert.deepEqual([status, String(stdout), String(stderr)], [101, '', ''])
    }
    assert.equal(readFileSync(queue, 'utf8'), 'nginx.service\trestart\ncron\tstop start\n')
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
