// The order of rpm's versions against rpm's own, over generated cases with everything that it takes for special.
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { test } from 'node:test'
import { compareRpmVersions } from '../../src/model/version-rpm.ts'
import { openRpmChroot } from '../rpm-chroot.ts'

const casesInRun = 8000
const seed = 20261121

/** Few different pieces, so that two of them share long beginnings; separators of all kinds, no quotes. */
const piece = fc.constantFrom(
  ...['0', '00', '1', '01', '2', '9', '10', '0050', '99999999999999999999', '100000000000000000000'],
  ...['a', 'b', 'A', 'Z', 'rc', 'beta', 'git', '~', '^', '~~', '^^', '~^', '.', '_', '+', '..', 'é', ' '],
)
const part = fc.array(piece, { maxLength: 6 }).map((pieces) => pieces.join(''))
const epoch = fc.constantFrom('', '0:', '1:', '01:', '2:', ':')
const beside = fc.oneof(
  fc.tuple(part, part),
  fc.tuple(part, part, part).map(([start, one, other]) => [start + one, start + other] as const),
  // Equal up to what only separates.
  fc.tuple(part, part).map(([one, other]) => [`${one}.${other}`, `${one}_${other}`] as const),
)
const whole = fc
  .tuple(fc.tuple(epoch, epoch), beside, beside)
  .map(
    ([[first, second], [one, other], [release, next]]) =>
      [`${first}${one}-${release}`, `${second}${other}-${next}`] as const,
  )
// One with a release and one without are never asked for: what needs a version says nothing of releases where it names none.
const pair = fc.oneof(beside, whole)

test('versions and their parts stand in the order in which rpm itself puts them', async (context) => {
  await using chroot = await openRpmChroot()
  const cases = fc.sample(pair, { numRuns: casesInRun, seed })
  const quoted = (text: string) => `"${text}"`
  const lines = (pairs: readonly (readonly [string, string])[], compare: string) =>
    `local cases = {\n${pairs.map((both) => `{${both.map(quoted).join(',')}},`).join('\n')}\n}\n` +
    `for _, c in ipairs(cases) do local ok, order = pcall(${compare}, c[1], c[2]) print(ok and order or 'refused') end\n`
  const run = async (script: string) => {
    writeFileSync(join(chroot.path, 'root/compare.lua'), script)
    const { stdout } = await chroot.run(['rpmlua', '/root/compare.lua'])
    return stdout.trimEnd().split('\n')
  }
  const orders = await run(lines(cases, 'rpm.vercmp'))
  assert.equal(orders.length, cases.length)
  const found = new Map<string, number>()
  for (const [index, [left, right]] of cases.entries()) {
    const order = orders[index] ?? ''
    found.set(order, (found.get(order) ?? 0) + 1)
    // Not even rpm takes everything for a version: nothing, or nothing before the release.
    if (order !== 'refused')
      assert.equal(String(compareRpmVersions(left, right)), order, `"${left}" and "${right}"`)
  }
  context.diagnostic(JSON.stringify(Object.fromEntries(found)))
  for (const order of ['-1', '0', '1']) assert.ok((found.get(order) ?? 0) > casesInRun / 20, order)
  assert.ok((found.get('refused') ?? 0) < casesInRun / 4)
})
