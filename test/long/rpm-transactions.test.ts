// Transactions of dnf and rpm on a machine of theirs: recorded with no further action, and each undone alone.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { editingPackage, fileOf, openRpmMachine, type RpmMachine, toolPackage } from '../rpm-machine.ts'
import type { RpmSpec } from '../rpm-packages.ts'

const failed = { mayFail: true }
const needy: RpmSpec = { name: 'needy', version: '1', head: ['Requires: tool >= 2'] }
/** Its script wants to see the system itself. */
const driver: RpmSpec = {
  name: 'driver',
  version: '1',
  install: 'mkdir -p $R/opt; echo d >$R/opt/driver',
  sections: '%pre\n[ ! -e /var/lib/vml/inside ]',
  files: ['/opt/driver'],
}

interface Listed {
  readonly number: number
  readonly title: string
  readonly mode: string
  readonly undone_by: number | null
}

async function listed(machine: RpmMachine): Promise<Listed[]> {
  const { stdout } = await machine.vml(['tx', 'list', '--json'])
  const { transactions }: { transactions: readonly Listed[] } = JSON.parse(stdout)
  return transactions.toReversed()
}

const dnf = async (machine: RpmMachine, ...words: string[]) =>
  await machine.run(['dnf', '-y', '-q', ...words], failed)
const names = async (machine: RpmMachine) =>
  (await machine.sh("rpm -qa --qf '%{NAME}-%{VERSION}\\n' | sort")).stdout.trim().split('\n')

test('an upgrade by dnf is undone alone, later packages and edits stay, and rpm finds nothing wrong (M1, M2, M7)', async () => {
  await using machine = await openRpmMachine([toolPackage('1'), toolPackage('2'), editingPackage, needy], {
    dpkg: true,
  })
  const bare = machine.tree()
  await machine.vml(['tx', 'enable'])
  await dnf(machine, 'install', 'tool-1')
  const first = await machine.installed()
  await dnf(machine, 'upgrade', 'tool')
  const upgraded = await machine.installed()
  await machine.sh('sed -i s/last=4/last=5/ /etc/tool.conf')
  await dnf(machine, 'install', 'editing')
  const later = (await machine.installed()).split('\n').filter((line) => line.startsWith('editing'))
  assert.deepEqual(
    (await listed(machine)).map(({ title, mode }) => [title, mode]),
    [
      ['dnf -y -q install tool-1', 'staged'],
      ['dnf -y -q upgrade tool', 'staged'],
      ['changes by hand: /etc/tool.conf', 'live'],
      ['dnf -y -q install editing', 'staged'],
    ],
  )
  assert.match((await machine.vml(['tx', 'show', '2'])).stdout, /~ {2}tool:noarch +1-1 → 2-1/)

  const undone = await machine.vml(['tx', 'undo', '2'])
  assert.match(undone.stdout, /rpm relations ok; rpm -V ok, 1 package/)
  // Header by header what it was, times of installation included; what came later is there.
  assert.deepEqual(
    (await machine.installed()).split('\n').toSorted(),
    [...first.split('\n'), ...later].toSorted(),
  )
  assert.equal(
    (await machine.sh('cat /etc/tool.conf /opt/tool/version')).stdout,
    'version=1\nb\nc\nd\nlast=5\n1\n',
  )
  assert.match((await machine.sh('cat /etc/hosts')).stdout, /editing/)
  assert.match((await machine.sh('rpm -Va || true')).stdout, /^S?\.?5?.* {2}c \/etc\/tool\.conf\n$/)

  await machine.vml(['tx', 'redo', '2'])
  assert.deepEqual(
    (await machine.installed()).split('\n').toSorted(),
    [...upgraded.split('\n'), ...later].toSorted(),
  )
  await dnf(machine, 'install', 'needy')
  const refused = await machine.vml(['tx', 'undo', '2'], failed)
  assert.equal(refused.status, 14)
  assert.match(
    refused.stderr,
    /needy : requires: tool \(>= 2\), which is installed as 1-1 \(needy came with #\d+\)/,
  )
  await machine.sh('sed -i s/last=5/last=4/ /etc/tool.conf')
  await machine.vml(['tx', 'undo', '--to-before', '1'])
  await machine.vml(['tx', 'disable'])
  assert.deepEqual(await names(machine), ['basefs-1'])
  assert.equal(machine.changedSince(bare), '')
})

test('a package of which a script fails in the stage is installed on the machine itself, without asking once more', async () => {
  await using machine = await openRpmMachine([driver])
  await machine.vml(['tx', 'enable'])
  const refused = await machine.run(['dnf', 'install', 'driver'], { ...failed, input: 'n\n' })
  assert.notEqual(refused.status, 0)
  assert.ok(!existsSync(join(machine.path, 'opt/driver')))
  const done = await machine.run(['dnf', 'install', 'driver'], { input: 'y\n' })
  assert.match(done.stderr, /dnf ended with status 1 in the stage\. It is done again on the machine itself/)
  assert.deepEqual(
    (await listed(machine)).map(({ title, mode }) => [title, mode]),
    [['dnf -y install driver', 'live']],
  )
  await machine.vml(['tx', 'undo', '1'])
  assert.deepEqual(await names(machine), ['basefs-1'])
})

test('bare rpm is recorded live, one call after the other, and each is undone alone', async () => {
  await using machine = await openRpmMachine([toolPackage('1'), toolPackage('2'), editingPackage])
  await machine.vml(['tx', 'enable'])
  const before = machine.tree()
  const calls = [
    `rpm -i --quiet ${fileOf(toolPackage('1'))}`,
    `rpm -U --quiet ${fileOf(toolPackage('2'))}`,
    `rpm -i --quiet ${fileOf(editingPackage)}`,
    'rpm -e tool',
  ]
  // Right after each other: nobody tells when rpm has ended.
  await machine.sh(calls.join('\n'))
  await machine.vml(['tx', 'recover'])
  assert.deepEqual(
    (await listed(machine)).map(({ title, mode }) => [title, mode]),
    calls.map((call) => [call, 'live']),
  )
  await machine.vml(['tx', 'undo', '4'])
  assert.equal((await machine.sh('rpm -Va; cat /opt/tool/version')).stdout, '2\n')
  await machine.vml(['tx', 'undo', '2'])
  assert.equal((await machine.sh('rpm -Va; cat /opt/tool/version')).stdout, '1\n')
  await machine.vml(['tx', 'undo', '1'])
  await machine.vml(['tx', 'undo', '3'])
  assert.deepEqual(await names(machine), ['basefs-1'])
  assert.equal(machine.changedSince(before), '')
})
