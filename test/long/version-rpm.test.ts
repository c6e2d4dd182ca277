// As test/e2e/version-rpm.test.ts, with VML_LONG_ROUNDS times 100,000 cases from VML_LONG_SEED or another seed each time.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openRpmChroot } from '../rpm-chroot.ts'
import { compareVersionsWithRpm } from '../rpm-version-cases.ts'

const rounds = Number(process.env['VML_LONG_ROUNDS'] ?? 10)
const firstSeed = Number(process.env['VML_LONG_SEED'] ?? Date.now() % 2 ** 31)

test('a million versions stand in the order in which rpm itself puts them', async (context) => {
  await using chroot = await openRpmChroot()
  for (let seed = firstSeed; seed < firstSeed + rounds; seed++) {
    const found = await compareVersionsWithRpm(chroot, { numRuns: 100_000, seed })
    context.diagnostic(`seed ${seed}: ${JSON.stringify(found)}`)
    assert.ok(Object.keys(found).length >= 3)
  }
})
