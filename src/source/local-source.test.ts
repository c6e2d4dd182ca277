import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { test } from 'node:test'
import { openLocalShell } from '../wire/local-shell.ts'
import { openLocalSource } from './local-source.ts'
import { openShellSource } from './shell-source.ts'

test('the clock of this computer is that of its tools, and never ahead of it', async () => {
  await using shell = openLocalShell()
  await using asked = await openShellSource(shell)
  await using source = openLocalSource(asked, tmpdir())
  assert.ok(source.local)
  const before = BigInt(execFileSync('date', ['+%s%N'], { encoding: 'utf8' }))
  const told = await source.clockNs()
  const after = BigInt(execFileSync('date', ['+%s%N'], { encoding: 'utf8' }))
  assert.ok(told > before - 1_000_000n && told < after)
})
