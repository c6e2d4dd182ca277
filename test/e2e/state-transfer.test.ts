import assert from 'node:assert/strict'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openChroot } from '../chroot.ts'
import { openPackageArchive } from '../package-archive.ts'
import { keptStates, rowsOf, setHook, tinyDataHook, upgradedData } from '../tiny-data.ts'
import { apt, transactionsOf, until } from '../transaction-bed.ts'
import { killAndRecover } from '../transaction-kill.ts'
import { compareTrees, renderComparison } from '../tree-compare.ts'
import { readTree } from '../tree-read.ts'
import { regenerated } from '../tree-rules.ts'

const failed = { mayFail: true }

test('the state of a service goes to the old version by an undo and to the new one by a redo, with all that was added since; where a hook fails, or all is killed, nothing is changed, or everything (C05, C06)', async (context) => {
  await using bed = await upgradedData(tinyDataHook)
  const { chroot, number } = bed
  for (const [fields, sentence, kept] of [
    [
      { export: 'echo half; echo no disk >&2; exit 5' },
      /export of the state of tiny-data 2 failed: no disk \(status 5\)/,
      0,
    ],
    [
      { import: 'tiny-data load; echo bad row >&2; exit 3' },
      /import of the state by tiny-data 1 failed: bad row/,
      1,
    ],
  ] as const) {
    await setHook(chroot, { ...tinyDataHook, ...fields })
    const before = readTree(chroot.path)
    const undo = await chroot.vml(['tx', 'undo', number], failed)
    assert.equal(undo.status, 40, undo.stderr)
    assert.match(undo.stderr, sentence)
    assert.equal(renderComparison(compareTrees(readTree(chroot.path), before, { allowed: regenerated })), '')
    assert.equal(keptStates(chroot).length, kept)
    assert.ok(!existsSync(join(chroot.path, 'var/lib/vml/stage/open')))
  }
  await setHook(chroot, tinyDataHook)
  await chroot.sh('chmod o+w /etc/vml/state.d/tiny.toml')
  const refused = await chroot.vml(['tx', 'undo', number, '--dry-run'], failed)
  assert.match(refused.stderr, /tiny\.toml .*others than root may write it/)
  await chroot.sh('chmod o-w /etc/vml/state.d/tiny.toml')

  await chroot.vml(['tx', 'undo', number])
  assert.equal(await rowsOf(chroot), 'one two')
  assert.equal((await chroot.sh('cat /var/lib/tiny-data/form')).stdout, '1\n')
  const kept = keptStates(chroot)[1] ?? ''
  assert.equal(readFileSync(join(kept, 'state'), 'utf8'), 'one\ntwo\n')
  assert.equal(statSync(join(kept, 'state')).mode & 0o777, 0o600)
  const undo = String((await transactionsOf(chroot))[0]?.number)
  const shown = await chroot.vml(['tx', 'show', undo])
  assert.match(
    shown.stdout,
    /state of tiny-data +passed: exported with 2, imported with 1 by hook tiny; 8 bytes, kept in/,
  )
  await chroot.sh('tiny-data add three')
  await chroot.vml(['tx', 'redo', number])
  assert.equal(await rowsOf(chroot), 'one two three')
  assert.equal((await chroot.sh('cat /var/lib/tiny-data/form')).stdout, '2\n')
  assert.equal(keptStates(chroot).length, 3)

  const tally = await killAndRecover(chroot, {
    seed: 1,
    times: 1,
    make: { name: 'a transfer', command: ['/usr/bin/vml', 'tx', 'undo', number], words: ['tx', 'undo'] },
    back: async () => await chroot.vml(['tx', 'redo', number]),
  })
  context.diagnostic(JSON.stringify(tally))
  assert.equal(tally.kills, 1)

  await setHook(chroot, {
    ...tinyDataHook,
    units: ['tiny.service'],
    export: 'tiny-data dump; touch /run/exporting; exec sleep 1000.5',
  })
  await chroot.sh('mkdir -p /run/systemd/system; cat >/usr/bin/systemctl; chmod 755 /usr/bin/systemctl', {
    input: `#!/bin/sh
case $* in
  *list-units*) echo tiny.service loaded active running ;;
  *is-active*) [ ! -e /run/stopped ] ;;
  *' stop '*) touch /run/stopped ;;
  *' start '*) rm /run/stopped ;;
esac
`,
  })
  // The kill at a random moment may have left one that is not whole, which the next one sweeps.
  const known = keptStates(chroot).filter((folder) => existsSync(join(folder, 'about.json'))).length
  const child = chroot.start(['/usr/bin/vml', 'tx', 'undo', number])
  child.stdin.end()
  const ended = new Promise((resolve) => child.on('exit', resolve))
  await until(() => (existsSync(join(chroot.path, 'run/exporting')) ? true : undefined))
  child.kill('SIGKILL')
  await ended
  assert.ok(existsSync(join(chroot.path, 'run/stopped')))
  await chroot.vml(['tx', 'recover'])
  assert.ok(!existsSync(join(chroot.path, 'run/stopped')))
  assert.equal((await chroot.run(['pgrep', '-f', 'sleep 1000[.]5'], failed)).stdout, '')
  assert.equal(await rowsOf(chroot), 'one two three')
  // What was not exported whole goes with the next one.
  await setHook(chroot, tinyDataHook)
  await chroot.vml(['tx', 'undo', number])
  assert.equal(await rowsOf(chroot), 'one two three')
  assert.equal(keptStates(chroot).length, known + 1)
})

test('a major version that is a package of its own does not go and leave what was written since to no program, but is refused by name, unless that is asked for', async () => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  const tiny = (name: string) => ({ name, version: '1', files: { [`/usr/lib/${name}`]: name } })
  await archive.publish(tiny('tiny-1'), tiny('tiny-2'), tiny('tiny-common'))
  await setHook(chroot, { ...tinyDataHook, by_hand: 'bring {from} to {to}' })
  await chroot.vml(['tx', 'enable'])
  await apt(chroot, ['install', 'tiny-common'])
  await apt(chroot, ['install', 'tiny-1'])
  await apt(chroot, ['install', 'tiny-2'])
  const unused = await chroot.vml(['tx', 'undo', '3', '--dry-run'])
  assert.doesNotMatch(unused.stdout, /does not read it/)
  await chroot.sh('cd /var/lib; mkdir tiny-1 tiny-2; echo one >tiny-1/rows; echo two >tiny-2/rows')
  const planned = await chroot.vml(['tx', 'undo', '3', '--dry-run'], failed)
  assert.equal(planned.status, 14, planned.stderr)
  assert.match(planned.stdout, /data of tiny-2 stays in \/var\/lib\/tiny-2, 4 B: tiny-1 does not read it/)
  const refused = await chroot.vml(['tx', 'undo', '3'], failed)
  assert.equal(refused.status, 14, refused.stderr)
  assert.match(refused.stderr, /Cannot undo #3: tiny-2 would go, .*\/var\/lib\/tiny-2, where tiny-1 does not/)
  assert.match(refused.stderr, /Nothing was changed\. --leave-data .* in tiny-1 first: bring 2 to 1/)
  assert.ok(existsSync(join(chroot.path, 'usr/lib/tiny-2')))
  await chroot.vml(['tx', 'undo', '3', '--leave-data'])
  assert.ok(!existsSync(join(chroot.path, 'usr/lib/tiny-2')))
  // tiny-common is no other version of it.
  await chroot.vml(['tx', 'undo', '2'])
  assert.equal((await chroot.sh('cat /var/lib/tiny-?/rows')).stdout, 'one\ntwo\n')
})
