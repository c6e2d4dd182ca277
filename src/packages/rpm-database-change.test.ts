import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { asRaw } from '../base/raw-text.ts'
import { compareRpmDatabases, planRpmUndo, reversed } from './rpm-database-change.ts'
import type { RpmEntry } from './rpm-headers.ts'
import { parseBroken } from './rpm-oracle.ts'
import { parseVerified } from './rpm-proof.ts'

const entry = (name: string, installation: number): RpmEntry => ({
  name: asRaw(name),
  version: asRaw('1'),
  release: asRaw('1'),
  architecture: asRaw('noarch'),
  id: `${name}${installation}`,
  header: Buffer.alloc(0),
})
const names = ['a', 'b', 'c', 'd']
/** At most one entry of each name, or two of the last, which stands in several versions. */
const database = fc
  .tuple(
    ...names.map((name) =>
      fc.subarray(
        [1, 2, 3].map((installation) => entry(name, installation)),
        { maxLength: name === 'd' ? 2 : 1 },
      ),
    ),
  )
  .map((found) => found.flat())
const ids = (found: readonly RpmEntry[]) => found.map(({ id }) => id).sort()

async function undone(now: readonly RpmEntry[], before: readonly RpmEntry[], after: readonly RpmEntry[]) {
  const change = await compareRpmDatabases(
    () => before,
    () => after,
  )
  const plan = await planRpmUndo(change, now)
  return {
    change,
    plan,
    result: [...now.filter(({ id }) => !plan.drop.some((one) => one.id === id)), ...plan.put],
  }
}

test('what nothing came after goes back to what was before, and the undo of that to what was after', async () => {
  await fc.assert(
    fc.asyncProperty(database, database, async (before, after) => {
      const { change, plan, result } = await undone(after, before, after)
      assert.deepEqual(plan.conflicts, [])
      assert.deepEqual(ids(result), ids(before))
      const again = await planRpmUndo(reversed(change), result)
      const redone = [...result.filter(({ id }) => !again.drop.some((one) => one.id === id)), ...again.put]
      assert.deepEqual(ids(redone), ids(after))
    }),
  )
})

test('packages that the transaction did not touch, and those that were changed since, stay as they are', async () => {
  await fc.assert(
    fc.asyncProperty(database, database, database, async (before, after, now) => {
      const { plan, result } = await undone(now, before, after)
      for (const name of names) {
        const of = (found: readonly RpmEntry[]) => ids(found.filter((one) => one.name === name))
        const [was, is, there, then] = [before, after, now, result].map(of)
        const told = plan.conflicts.some((conflict) => conflict.name === name)
        if (String(was) === String(is) || told) assert.deepEqual(then, there)
        if (String(there) === String(is)) assert.deepEqual(then, was)
        // One version at a time stays so.
        if (name !== 'd') assert.ok((then ?? []).length <= 1)
      }
    }),
  )
})

test('rpm’s words on relations that do not hold are taken apart, and said twice they count once', () => {
  const said = `Unsatisfied dependencies for d-1-1.noarch:
\ta >= 2 is needed by (installed) d-1-1.noarch
Unsatisfied dependencies for a-1-1.noarch:
\ta >= 2 is needed by (installed) d-1-1.noarch
\tlibx.so.1()(64bit) is needed by (installed) i-3:1-1.x86_64
\t(x if a) is needed by (installed) g-1-1.noarch
\tzz < 3 is obsoleted by (installed) h-1-1.noarch
\ta < 2 conflicts with (installed) e-1-1.noarch
`
  assert.deepEqual(
    parseBroken(said).map(({ package: name, relation, needs }) => `${name} ${relation} ${needs}`),
    [
      'd-1-1.noarch requires a >= 2',
      'i-3:1-1.x86_64 requires libx.so.1()(64bit)',
      'g-1-1.noarch requires (x if a)',
      'h-1-1.noarch obsoletes zz < 3',
      'e-1-1.noarch conflicts a < 2',
    ],
  )
})

test('what rpm -V says of files is taken apart, whatever their names are', () => {
  const said = `S.5....T.  c /etc/a.conf
.M...UG.P    /opt/with blank (x)
missing     /opt/gone
missing   c /etc/gone (Permission denied)
..?......  d /usr/share/doc/a
`
  assert.deepEqual(
    parseVerified(said).map(({ path, differs, unread, isConfiguration }) => [
      path,
      differs.join(),
      unread,
      isConfiguration,
    ]),
    [
      ['/etc/a.conf', 'size,digest,mtime', false, true],
      ['/opt/with blank (x)', 'mode,user,group,capabilities', false, false],
      ['/opt/gone', 'missing', false, false],
      ['/etc/gone', 'missing', false, true],
      ['/usr/share/doc/a', '', true, false],
    ],
  )
  assert.throws(() => parseVerified('error: something else\n'), /Cannot verify/)
})
