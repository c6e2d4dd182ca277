import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { policyScript } from './policy-rc.ts'

for (const shell of ['exec ', ''])
  test(`of all units of deb-systemd-invoke a request is written down, which ends with the first; the shell between ${shell ? 'becomes this' : 'stays'}`, () => {
    using bench = openBench(shell)
    const { stderr, status } = bench.run(bench.invoke, '--system', 'restart', 'one.service', 'two.socket')
    assert.deepEqual([status, stderr], [0, 'asked for one.service\n'])
    assert.equal(bench.queue(), 'one.service\trestart\ntwo.socket\trestart\n')
  })

test('units of users are none of the system', () => {
  using bench = openBench()
  assert.equal(bench.run(bench.invoke, '--user', 'restart', 'one.service').status, 0)
  assert.equal(bench.queue(), '')
})

function openBench(shell = '') {
  const folder = mkdtempSync(join(tmpdir(), 'vml-policy-'))
  const [policy, invoke, queue] = ['policy-rc.d', 'deb-systemd-invoke', 'queue'].map((name) =>
    join(folder, name),
  )
  assert.ok(policy !== undefined && invoke !== undefined && queue !== undefined)
  writeFileSync(policy, policyScript(queue), { mode: 0o755 })
  // As that of init-system-helpers 1.65 does it.
  const asks = `#!/bin/sh
for word; do case $word in --*) shift ;; *) break ;; esac; done
action=$1
shift
for unit; do
  echo "asked for $unit" >&2
  sh -c '${shell}"$0" "$1" "$2"${shell === '' ? '; exit $?' : ''}' '${policy}' "$unit" "$action"
  [ $? != 101 ] || exit 0
done
`
  writeFileSync(invoke, asks, { mode: 0o755 })
  return {
    invoke,
    run: (program: string, ...words: readonly string[]) => spawnSync(program, words, { encoding: 'utf8' }),
    queue: () => (existsSync(queue) ? readFileSync(queue, 'utf8') : ''),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true }),
  }
}
