import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemctlScript } from './systemctl-queue.ts'

/** What is written down of these words, and what the real one is called with. */
function asked(line: string, { booted = true, staged = true, ends = 3 } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'vml-systemctl-'))
  try {
    const [queue, real, sign, called, script] = ['queue', 'real', 'booted', 'called', 'systemctl'].map(
      (name) => join(folder, name),
    )
    assert.ok(queue && real && sign && called && script)
    if (booted) mkdirSync(sign)
    if (staged) writeFileSync(queue, '')
    writeFileSync(
      real,
      `#!/bin/sh\necho "$*\${SYSTEMD_IGNORE_CHROOT:+ really}" >>'${called}'\nexit ${ends}\n`,
      { mode: 0o755 },
    )
    writeFileSync(script, systemctlScript({ queue, real, booted: sign }), { mode: 0o755 })
    const { status, stderr } = spawnSync('sh', ['-c', `'${script}' ${line}`], {
      encoding: 'utf8',
      cwd: folder,
    })
    assert.equal(stderr, '')
    const read = (file: string) =>
      existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1) : []
    return { status, queue: read(queue).map((one) => one.replaceAll('\t', ' ')), called: read(called) }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test('what is asked for services is written down, each unit by its whole name, and the real systemctl is not called', () => {
  const lines: Readonly<Record<string, readonly string[]>> = {
    'start one': ['one.service start systemctl'],
    '--no-block try-restart one.socket two': [
      'one.socket try-restart systemctl',
      'two.service try-restart systemctl',
    ],
    'condrestart one': ['one.service try-restart systemctl'],
    '-t service stop one': ['one.service stop systemctl'],
    'force-reload one': ['one.service reload systemctl'],
    "try-restart 'one@*.service'": ['one@*.service try-restart systemctl'],
    'set-property one.service Markers=+needs-restart': ['one.service try-restart systemctl'],
    '--runtime set-property one Markers=+needs-reload': ['one.service reload systemctl'],
    'reload-or-restart --marked': [],
    'daemon-reload': [' daemon-reload systemctl'],
    'daemon-reexec': [' daemon-reexec systemctl'],
  }
  for (const [line, queue] of Object.entries(lines))
    assert.deepEqual(asked(line), { status: 0, queue, called: [] }, line)
})

test('what changes files is the real one’s, without what it would have changed of what runs', () => {
  for (const line of [
    '--no-reload preset one',
    'enable one',
    '--no-reload disable --no-warn one',
    'daemon',
    'cat one',
  ])
    assert.deepEqual(asked(line), { status: 3, queue: [], called: [line] }, line)
  // It failed: then nothing is to be stopped, either.
  assert.deepEqual(asked('disable --now --no-warn one two'), {
    status: 3,
    queue: [],
    called: ['disable --no-warn one two'],
  })
  assert.deepEqual(asked('enable --now one', { ends: 0 }), {
    status: 0,
    queue: ['one.service start systemctl'],
    called: ['enable one'],
  })
  assert.deepEqual(asked('set-property one CPUQuota=20%'), {
    status: 3,
    queue: [],
    called: ['set-property one CPUQuota=20%'],
  })
})

test('questions for what runs go to the running manager, requests to others than it to the real one', () => {
  assert.deepEqual(asked('--quiet is-active one'), {
    status: 3,
    queue: [],
    called: ['--quiet is-active one really'],
  })
  for (const line of [
    '--user restart one',
    '--global enable one',
    '-M other restart one',
    '--root=/srv start one',
  ])
    assert.deepEqual(asked(line), { status: 3, queue: [], called: [line] }, line)
})

test('outside of a stage, and where systemd does not run, it is out of the way', () => {
  for (const where of [{ booted: false }, { staged: false }])
    assert.deepEqual(asked('restart one', where), { status: 3, queue: [], called: ['restart one'] })
})
