// A copy that is killed at every call of the backend shows whole entries only, and the next one ends it.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { openTestHome, vmlCommand, vmlEnvironment, well } from '../cli.ts'
import { killCopies } from '../copy-kill.ts'
import { addEntry } from '../entries.ts'
import { execRestic } from '../restic-peer.ts'
import { noise } from '../store-fixture.ts'

test('Y5: killed before or after every call of the backend, a copy shows whole entries only, and the next one ends it', async (context) => {
  const { kills, points, whole } = await killCopies(1)
  context.diagnostic(`${kills} kills at ${points} points, ${whole} entries were whole at them`)
  assert.equal(kills, points)
})

test('vml copy killed at random moments and repeated ends with all that the source has', async (context) => {
  await using home = await openTestHome()
  for (const day of [1, 2, 3, 4])
    await addEntry(home, {
      title: `fit ${day}`,
      at: `2026-11-0${day}T10:00:00Z`,
      files: { '/home/lab/a': noise(4_000_000, `${day}`).toString('latin1') },
    })
  await well(home, 'init', 'second', '--like', home.logbook, '--password-file', home.passwordFile)
  const second = join(home.home, 'second')
  const [program = '', ...words] = vmlCommand
  let kills = 0
  for (let turn = 0; turn < 4; turn++) {
    const child = spawn(program, [...words, 'copy', '--all', '--to', 'second', '--quiet'], {
      cwd: home.home,
      env: vmlEnvironment(home),
      stdio: 'ignore',
    })
    const ended = once(child, 'exit')
    await Promise.race([ended, sleep(150 + Math.random() * 900)])
    if (child.exitCode === null && child.kill('SIGKILL')) kills++
    await ended
    execRestic(home, second, 'unlock')
    assert.match(execRestic(home, second, 'check', '--read-data'), /no errors were found/)
  }
  context.diagnostic(`${kills} kills`)
  await well(home, 'copy', '--all', '--to', 'second')
  assert.match(execRestic(home, second, 'check', '--read-data'), /no errors were found/)
  assert.equal((JSON.parse(execRestic(home, second, 'snapshots', '--json')) as unknown[]).length, 4)
  // One that is there already is nothing to do, whatever was killed before.
  assert.match((await well(home, 'copy', '--all', '--to', 'second')).stderr, /Copied 0 of 4/)
})
