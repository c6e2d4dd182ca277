// dnf and rpm recorded with no further action, and one transaction of them taken back: the short form of test/long/rpm-transactions.test.ts.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { editingPackage, fileOf, openRpmMachine, toolPackage } from '../rpm-machine.ts'

const sorted = (text: string) => text.split('\n').toSorted()

test('an upgrade by dnf is undone alone; what rpm brought later and what was edited stay (M1, M2, M7)', async () => {
  await using machine = await openRpmMachine([toolPackage('1'), toolPackage('2'), editingPackage], {
    dpkg: true,
  })
  const hooks = async () => (await machine.sh('find /etc /usr -name "*vml*" -not -path /usr/bin/vml')).stdout
  await machine.vml(['tx', 'enable'])
  assert.match(await hooks(), /macros\.vml/)
  await machine.run(['dnf', '-y', '-q', 'install', 'tool-1'])
  const first = await machine.installed()
  await machine.run(['dnf', '-y', '-q', 'upgrade', 'tool'])
  await machine.sh(`sed -i s/last=4/last=5/ /etc/tool.conf; rpm -i --quiet ${fileOf(editingPackage)}`)
  const last = await machine.installed()

  const refused = await machine.vml(['tx', 'undo', '1'], { mayFail: true })
  assert.equal(refused.status, 14)
  assert.match(refused.stderr, /tool was changed again by #2 \(dnf -y -q upgrade tool\)/)
  const undone = await machine.vml(['tx', 'undo', '2'])
  assert.match(undone.stdout, /rpm relations ok; rpm -V ok, 1 package/)
  // Header by header what it was, times of installation included.
  const later = last.split('\n').filter((line) => line.startsWith('editing'))
  assert.deepEqual(sorted(await machine.installed()), [...first.split('\n'), ...later].toSorted())
  assert.equal(
    (await machine.sh('cat /etc/tool.conf /opt/tool/version; grep -c editing /etc/hosts')).stdout,
    'version=1\nb\nc\nd\nlast=5\n1\n1\n',
  )
  await machine.vml(['tx', 'redo', '2'])
  assert.deepEqual(sorted(await machine.installed()), sorted(last))
  const { stdout } = await machine.vml(['tx', 'list', '--json'])
  const { transactions }: { transactions: readonly { title: string; mode: string }[] } = JSON.parse(stdout)
  assert.deepEqual(transactions.map(({ title, mode }) => `${mode} ${title}`).toReversed(), [
    'staged dnf -y -q install tool-1',
    'staged dnf -y -q upgrade tool',
    'live changes by hand: /etc/tool.conf',
    `live rpm -i --quiet ${fileOf(editingPackage)}`,
    'staged undo #2: dnf -y -q upgrade tool',
    'staged redo #2: dnf -y -q upgrade tool',
  ])
  await machine.vml(['tx', 'disable'])
  assert.equal(await hooks(), '')
})
