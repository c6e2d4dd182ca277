// A restore to this host whose disk runs full: 31, what to do, and nothing half written.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { vmlCommand, vmlEnvironment } from '../cli.ts'
import { openMachineBench } from './machine-bench.ts'

test('a restore to a disk that runs full says so, leaves no half file, and the same command ends it when there is room', async () => {
  await using bench = await openMachineBench()
  const { home, vml, beside } = bench
  bench.sh(
    'mkdir -p w/d; for f in $(seq 40); do head -c 50000 /dev/urandom > w/d/$f; done; head -c 6000000 /dev/urandom > w/big',
  )
  await vml(['save', 'here', '--only', join(home, 'w')])
  const small = join(beside, 'small')
  mkdirSync(small)
  // On a mount of its own, in a namespace of its own.
  const script = `mount -t tmpfs -o size=4m tmpfs "$1" || exit 99; small=$1; shift
    "$@"; echo "first $?"; find "$small" -name ".vml-restore-*"; find "$small" -type f -size -50000c
    mount -o remount,size=20m "$small"; "$@"; echo "then $?"; cmp "$small$HOME/w/big" "$HOME/w/big" && echo same`
  const { stdout, stderr } = spawnSync(
    'unshare',
    ['-m', 'sh', '-c', script, 'sh', small, ...vmlCommand, 'restore', '1', '--to', small, '--quiet'],
    { env: vmlEnvironment({ home }), encoding: 'utf8', cwd: home },
  )
  assert.match(stdout, /first 31\n(Restored.*\n)?then 0\nsame\n$/, `${stdout}${stderr}`)
  assert.match(stderr, /is full/)
})
