// Killed at any moment, the logbook stays whole, and the next save or restore ends right.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { vmlCommand, vmlEnvironment } from '../cli.ts'
import { openMachineBench } from './machine-bench.ts'
import { assertSameTree, describeTree, sh } from './nasty-tree.ts'

const points = 10

interface Cut {
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly tookMs: number
  readonly stderr: string
}

async function cut(
  home: string,
  args: readonly string[],
  signal: NodeJS.Signals,
  afterMs: number | undefined,
): Promise<Cut> {
  const startedAt = performance.now()
  const [program = '', ...words] = vmlCommand
  const child = spawn(program, [...words, ...args], {
    env: vmlEnvironment({ home }),
    cwd: home,
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let stderr = ''
  child.stderr.on('data', (part: Buffer) => (stderr += part.toString()))
  const timer = afterMs === undefined ? undefined : setTimeout(() => child.kill(signal), afterMs)
  return await new Promise((resolve) =>
    child.once('close', (status, killedBy) => {
      clearTimeout(timer)
      resolve({ status, signal: killedBy, tookMs: performance.now() - startedAt, stderr })
    }),
  )
}

const makeFiles = String.raw`
  mkdir -p w beside; for d in $(seq 20); do mkdir w/$d; for f in $(seq 15); do head -c 20000 /dev/urandom > w/$d/$f; done; done
  ln w/1/1 w/2/linked; ln -s ../1 w/3/link; echo canary > beside/canary; chmod 555 w/4
`
/** New files, other content, other types, files gone. */
const change = String.raw`
  chmod 755 w/4; for d in $(seq 5 12); do echo $RANDOM >> w/$d/1; rm -f w/$d/2; mkdir -p w/$d/3d; echo n > w/$d/3d/n; done
  rm -rf w/13; ln -s ../beside w/13; rm -rf w/14; echo f > w/14; head -c 3000000 /dev/urandom > w/big
`

test('a save that is killed at any moment leaves a whole logbook, and the next one ends right', async () => {
  await using bench = await openMachineBench()
  const { home, vml } = bench
  bench.sh(makeFiles)
  const save = ['save', 'here', '--only', join(home, 'w')]
  const whole = await cut(home, save, 'SIGKILL', undefined)
  assert.equal(whole.status, 0, whole.stderr)
  let killed = 0
  for (let point = 0; point < points; point++) {
    sh(home, 'for d in $(seq 10); do head -c 400000 /dev/urandom > w/$d/1; done')
    const { signal } = await cut(home, save, 'SIGKILL', 150 + (whole.tookMs * point) / points)
    if (signal === 'SIGKILL') killed++
    if (point % 5 === 4) {
      // The lock of a killed program stays; VML passes over it, restic wants to be told.
      bench.restic('unlock')
      bench.restic('check')
    }
  }
  assert.ok(killed >= points / 2, `${killed} were cut off`)
  bench.check()
  const interrupted = await cut(home, [...save, '--full'], 'SIGINT', whole.tookMs / 2)
  // In its first and last moments nobody listens yet, or any more: then the signal itself ends it.
  assert.ok(
    [130, 0].includes(interrupted.status ?? -1) || interrupted.signal === 'SIGINT',
    interrupted.stderr,
  )
  await vml(save)
  bench.check()
  const now = describeTree(join(home, 'w'))
  await vml(['restore', '@latest', '--to', join(bench.beside, 'out')])
  assertSameTree(describeTree(join(bench.beside, 'out', home, 'w')), now)
  assert.deepEqual(
    readdirSync(join(bench.logbook, 'locks')).length <= killed,
    true,
    'a lock of a dead process is cleared away',
  )
})

test('a restore that is killed at any moment can be repeated, ends right, and touches nothing else', async () => {
  await using bench = await openMachineBench()
  const { home, vml } = bench
  bench.sh(makeFiles)
  await vml(['save', 'here', '--only', join(home, 'w')])
  const wanted = describeTree(join(home, 'w'))
  const outside = describeTree(join(home, 'beside'))
  const restore = ['restore', '1', '--delete']
  bench.sh(change)
  const whole = await cut(home, restore, 'SIGKILL', undefined)
  assert.equal(whole.status, 0, whole.stderr)
  assertSameTree(describeTree(join(home, 'w')), wanted)
  let killed = 0
  for (let point = 0; point < points; point++) {
    if (point % 2 === 0) bench.sh(change)
    const { signal } = await cut(home, restore, 'SIGKILL', 200 + (whole.tookMs * point) / points)
    if (signal === 'SIGKILL') killed++
    // The tar that it fed ends by itself.
    await sleep(30)
    assertSameTree(describeTree(join(home, 'beside')), outside)
  }
  // Where one came to its end the next finds nothing to do, and is over before its moment comes.
  assert.ok(killed >= points / 4, `${killed} were cut off`)
  const interrupted = await cut(home, restore, 'SIGINT', whole.tookMs / 2)
  // In its first and last moments nobody listens yet, or any more: then the signal itself ends it.
  assert.ok(
    [130, 0].includes(interrupted.status ?? -1) || interrupted.signal === 'SIGINT',
    interrupted.stderr,
  )
  await vml(restore)
  assertSameTree(describeTree(join(home, 'w')), wanted)
  bench.check()
  // And once more there is nothing to do.
  assert.match((await vml(restore)).stdout, /nothing to do/)
})
