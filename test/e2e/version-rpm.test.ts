// The order of rpm's versions against rpm's own; many more cases are in test/long/.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openRpmChroot } from '../rpm-chroot.ts'
import { compareVersionsWithRpm } from '../rpm-version-cases.ts'

const numRuns = 8000
const seed = 20261121

test('versions and their parts stand in the order in which rpm itself puts them', async (context) => {
  await using chroot = await openRpmChroot()
  const found = await compareVersionsWithRpm(chroot, { numRuns, seed })
  context.diagnostic(JSON.stringify(found))
  for (const order of ['-1', '0', '1']) assert.ok((found[order] ?? 0) > numRuns / 20, order)
  assert.ok((found['refused'] ?? 0) < numRuns / 4)
})
