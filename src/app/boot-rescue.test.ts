import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { bootScript } from './boot-rescue.ts'

test('a commit that was cut off is gone on with when the machine starts, and what was said is kept', () => {
  using bench = openBench('COMMITTING', 'echo Done $*')
  const { status, stdout } = bench.start()
  assert.equal(status, 0)
  assert.match(stdout, /was cut off \(COMMITTING\)\nDone\n/)
  assert.match(bench.log() ?? '', /^\d{4}-\d\d-\d\dT[\d:]+Z A change .*\n\d{4}-.*Z Done\n$/)
})

test('a commit that cannot be ended is taken back when the machine starts', () => {
  using bench = openBench('COMMITTING', 'echo $# $*; [ $# = 1 ]')
  const { status, stdout } = bench.start()
  assert.equal(status, 0)
  assert.match(stdout, /\n0\n1 --backward\n$/)
})

test('what can neither be ended nor taken back is a failure that is kept, and tried once in each direction', () => {
  using bench = openBench('COMMITTING', 'echo no; exit 1')
  assert.equal(bench.start().status, 1)
  assert.equal((bench.log() ?? '').match(/ no$/gm)?.length, 2)
})

test('a commit that was being taken back is not turned around', () => {
  using bench = openBench('TAKING-BACK', 'echo no $*; exit 1')
  assert.equal(bench.start().status, 1)
  assert.doesNotMatch(bench.log() ?? '', /backward/)
})

for (const state of ['PREPARED', 'COMMITTED', 'TAKEN-BACK', 'FORGOTTEN', undefined])
  test(`nothing is done when the machine starts with a journal in state ${state ?? 'none'}`, () => {
    using bench = openBench(state, 'exit 1')
    assert.deepEqual([bench.start().status, bench.start().stdout, bench.log()], [0, '', undefined])
  })

function openBench(state: string | undefined, recover: string) {
  const folder = mkdtempSync(join(tmpdir(), 'vml-boot-'))
  const stage = join(folder, 'stage')
  const programs = join(folder, 'bin')
  mkdirSync(join(stage, 'journal'), { recursive: true })
  mkdirSync(programs)
  // This computer's own are left alone.
  for (const name of ['systemctl', 'udevadm', 'sync'])
    writeFileSync(join(programs, name), '#!/bin/sh\n', { mode: 0o755 })
  writeFileSync(join(folder, 'at-boot'), bootScript)
  writeFileSync(join(stage, 'journal/recover.sh'), recover)
  if (state !== undefined) writeFileSync(join(stage, 'journal/state'), `${state}\n`)
  const log = join(stage, 'at-boot')
  return {
    start: () =>
      spawnSync('/bin/sh', [join(folder, 'at-boot'), stage], {
        encoding: 'utf8',
        env: { PATH: `${programs}:/usr/bin:/bin` },
      }),
    log: () => (existsSync(log) ? readFileSync(log, 'utf8') : undefined),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true }),
  }
}
