// The order of rpm's versions against rpm's own, over generated cases with everything that it takes for special.
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { compareRpmVersions } from '../src/model/version-rpm.ts'
import type { RpmChroot } from './rpm-chroot.ts'

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

/** How many cases rpm put before, equal and after, and how many it did not take for versions; fails with the case at fault. */
export async function compareVersionsWithRpm(
  chroot: RpmChroot,
  options: { readonly numRuns: number; readonly seed: number },
): Promise<Readonly<Record<string, number>>> {
  const cases = fc.sample(pair, options)
  const table = cases.map((both) => `{${both.map((text) => `"${text}"`).join(',')}},`).join('\n')
  const loop =
    "for _, c in ipairs(cases) do local ok, order = pcall(rpm.vercmp, c[1], c[2]) print(ok and order or 'refused') end"
  writeFileSync(join(chroot.path, 'root/compare.lua'), `local cases = {\n${table}\n}\n${loop}\n`)
  const { stdout } = await chroot.run(['rpmlua', '/root/compare.lua'])
  const orders = stdout.trimEnd().split('\n')
  assert.equal(orders.length, cases.length)
  const found: Record<string, number> = {}
  for (const [index, [left, right]] of cases.entries()) {
    const order = orders[index] ?? ''
    found[order] = (found[order] ?? 0) + 1
    // Not even rpm takes everything for a version: nothing, or nothing before the release.
    if (order !== 'refused')
      assert.equal(String(compareRpmVersions(left, right)), order, `"${left}" and "${right}"`)
  }
  return found
}
