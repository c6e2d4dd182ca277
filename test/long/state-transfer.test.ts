// The state of services that have one: Debian's databases by the hooks that VML brings, and many kills of an undo with a transfer.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Chroot } from '../chroot.ts'
import { handOver, mariadb, postgresql, slapd } from '../real-data.ts'
import { keptStates, rowsOf, setHook, tinyDataHook, upgradedData } from '../tiny-data.ts'
import { until } from '../transaction-bed.ts'
import { compareTrees, renderComparison } from '../tree-compare.ts'
import { readTree } from '../tree-read.ts'
import { regenerated } from '../tree-rules.ts'
import { undoInStage } from '../filled-stage.ts'
import { killAndRecover } from '../transaction-kill.ts'

const failed = { mayFail: true }

const changed = (chroot: Chroot, before: ReturnType<typeof readTree>) =>
  renderComparison(compareTrees(before, readTree(chroot.path), { allowed: regenerated }))

for (const server of [postgresql, mariadb, slapd])
  test(`${server.package}: the databases go to the old version and back with all that was added since`, async () => {
    const { answers, versions } = await handOver(server)
    const [upgraded = '', undone, later = '', redone] = answers
    assert.match(upgraded, /^1.*^2/ms)
    assert.equal(undone, upgraded)
    assert.match(later, /^3/m)
    assert.equal(redone, later)
    const [next = '', before = '', again] = versions
    assert.equal(next, `${before}+next1`)
    assert.equal(again, next)
  })

for (const kind of ['undo', 'redo'] as const)
  test(`an ${kind} with a transfer, killed at any moment, leaves one version with its data`, async (context) => {
    await using bed = await upgradedData(tinyDataHook)
    const { chroot, number } = bed
    const undo = async () => await chroot.vml(['tx', 'undo', number])
    const redo = async () => await chroot.vml(['tx', 'redo', number])
    if (kind === 'redo') await undo()
    const tally = await killAndRecover(chroot, {
      seed: 7,
      times: 40,
      make: { name: kind, command: ['/usr/bin/vml', 'tx', kind, number], words: ['tx', kind] },
      back: kind === 'undo' ? redo : undo,
    })
    context.diagnostic(JSON.stringify(tally))
    assert.equal(tally.kills, 40)
  })

for (const fileSystem of ['ext4', 'btrfs'] as const)
  test(`an undo with a transfer does to all other packages what one without does, on ${fileSystem} with /var and /home apart`, async () => {
    const { difference, redone, form } = await undoInStage({ fileSystem, apart: ['/var', '/home'] })
    assert.equal(difference, '')
    assert.equal(redone, '')
    assert.equal(form, '1')
  })

test('data that nobody used since comes back as it was, and no hook runs; nor where the form stays, or with --leave-data', async () => {
  await using bed = await upgradedData({ ...tinyDataHook, export: 'exit 7' }, { isUsed: false })
  const { chroot, number } = bed
  const upgraded = readTree(chroot.path)
  await chroot.vml(['tx', 'undo', number])
  assert.equal(await rowsOf(chroot), 'one')
  await chroot.vml(['tx', 'redo', number])
  assert.equal(changed(chroot, upgraded), '')
  await chroot.sh('tiny-data add two')
  await chroot.vml(['tx', 'undo', number, '--leave-data'])
  assert.equal((await chroot.sh('cat /var/lib/tiny-data/form')).stdout, '2\n')
  await chroot.vml(['tx', 'redo', number, '--leave-data'])
  await setHook(chroot, { ...tinyDataHook, export: 'exit 7', format: '()' })
  const plan = await chroot.vml(['tx', 'undo', number, '--dry-run'])
  assert.doesNotMatch(plan.stdout, /exported/)
  assert.deepEqual(keptStates(chroot), [])
})

test('where an export or an import fails, hangs, or the data is written meanwhile, nothing is changed, and what was exported stays', async () => {
  await using bed = await upgradedData(tinyDataHook)
  const { chroot, number } = bed
  const cases = [
    [
      { export: 'echo half; echo no disk >&2; exit 5' },
      /export of the state of tiny-data 2 failed: no disk \(status 5\)/,
      0,
    ],
    [{ export: 'true' }, /failed: it wrote nothing/, 0],
    [{ export: 'tiny-data dump; sleep 1000', export_seconds: 1 }, /did not end within 1 s/, 0],
    [
      { import: 'tiny-data load; echo bad row >&2; exit 3' },
      /import of the state by tiny-data 1 failed: bad row/,
      1,
    ],
    [{ import: 'sleep 1000 & tiny-data load; exit 4' }, /it ended with status 4/, 2],
  ] as const
  for (const [fields, sentence, kept] of cases) {
    await setHook(chroot, { ...tinyDataHook, ...fields })
    const before = readTree(chroot.path)
    const undo = await chroot.vml(['tx', 'undo', number], failed)
    assert.equal(undo.status, 40, undo.stderr)
    assert.match(undo.stderr, sentence)
    assert.equal(changed(chroot, before), '')
    assert.equal(keptStates(chroot).length, kept)
    assert.ok(!existsSync(join(chroot.path, 'var/lib/vml/stage/open')))
  }
  // What was to come back is not what the proof finds: all of the commit is taken back, data too.
  await setHook(chroot, { ...tinyDataHook, import: 'tiny-data load; echo "# more" >>/usr/bin/tiny-data' })
  const before = readTree(chroot.path)
  const unproved = await chroot.vml(['tx', 'undo', number], failed)
  assert.equal(unproved.status, 15, unproved.stderr)
  assert.equal(changed(chroot, before), '')
  await setHook(chroot, tinyDataHook)
  const user = chroot.start(['sh', '-c', 'exec 3>>/var/lib/tiny-data/rows; echo ready; read end'])
  for await (const data of user.stdout) if (String(data).includes('ready')) break
  const inUse = await chroot.vml(['tx', 'undo', number], failed)
  user.stdin.end('\n')
  assert.match(inUse.stderr, /process \d+ works with its data/)
  const slow = 'touch /run/importing; until [ -e /run/go ]; do sleep 0.05; done; tiny-data load'
  await setHook(chroot, { ...tinyDataHook, import: slow })
  const running = chroot.vml(['tx', 'undo', number], failed)
  await until(() => (existsSync(join(chroot.path, 'run/importing')) ? true : undefined))
  await chroot.sh('tiny-data add late; touch /run/go')
  const undo = await running
  assert.equal(undo.status, 14, undo.stderr)
  assert.match(undo.stderr, /rows.* changed on the machine meanwhile/)
  assert.match(undo.stderr, /is kept in \/var\/lib\/vml\/state\/transferred/)
  assert.equal(await rowsOf(chroot), 'one two late')
})

test('a hook that others than root could have written, or with a mistake, is named, and the undo waits for its repair', async () => {
  await using bed = await upgradedData(tinyDataHook)
  const { chroot, number } = bed
  const refusal = async () => (await chroot.vml(['tx', 'undo', number], failed)).stderr
  await chroot.sh('chmod o+w /etc/vml/state.d/tiny.toml')
  assert.match(await refusal(), /tiny\.toml .*others than root may write it/)
  await chroot.sh('chmod o-w /etc/vml/state.d/tiny.toml; chmod g+w /etc/vml/state.d')
  assert.match(await refusal(), /state\.d .*others than root may write it/)
  await chroot.sh('chmod g-w /etc/vml/state.d')
  for (const fields of [
    { exprot: 'true' },
    { data: ['relative'] },
    { data: ['/var/lib/../etc'] },
    { package: 'tiny-data' },
    { format: '(' },
    { export_seconds: 0 },
  ]) {
    await setHook(chroot, { ...tinyDataHook, ...fields })
    assert.match(await refusal(), new RegExp(`"${Object.keys(fields)[0]}|"data`))
  }
  await chroot.sh(
    'rm /etc/vml/state.d/tiny.toml; mkdir /srv/data; mv /var/lib/tiny-data /srv/data; ln -s /srv/data/tiny-data /var/lib',
  )
  await setHook(chroot, tinyDataHook)
  assert.match(await refusal(), /lies behind a link/)
  assert.equal(await rowsOf(chroot), 'one two')
})
