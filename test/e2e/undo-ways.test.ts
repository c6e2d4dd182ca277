import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openChroot } from '../chroot.ts'
import { openPackageArchive } from '../package-archive.ts'
import type { TinyPackage } from '../tiny-packages.ts'
import { apt, transactionsOf } from '../transaction-bed.ts'
import { compareTrees, renderComparison } from '../tree-compare.ts'
import { readTree } from '../tree-read.ts'
import { regenerated } from '../tree-rules.ts'

const failed = { mayFail: true }

test('where a transaction can be taken back in several ways they are told with what each writes, the cheapest first (C11)', async () => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  const large = 'x'.repeat(300_000)
  const file = (name: string, version: string, content: string) => ({
    name,
    version,
    files: { [`/usr/lib/${name}`]: `${version}${content}\n` },
  })
  const needing = { ...file('user', '1', ''), fields: { Depends: 'lib (>= 2)' } }
  await archive.publish(file('lib', '1', large), file('other', '1', ''))
  await chroot.vml(['tx', 'enable'])
  await apt(chroot, ['install', 'lib', 'other'])
  await archive.publish(file('lib', '2', large), file('other', '2', ''), needing)
  await apt(chroot, ['install', 'lib', 'other'])
  await apt(chroot, ['install', 'user'])
  const before = readTree(chroot.path)
  const refused = await chroot.vml(['tx', 'undo', '2'], failed)
  assert.equal(refused.status, 14)
  const [keep, along] = ['--keep-needed', '--with-dependents'].map((option) =>
    refused.stderr.indexOf(`vml tx undo 2 ${option} `),
  )
  assert.ok(keep !== undefined && along !== undefined && 0 < keep && keep < along, refused.stderr)
  const told = await chroot.vml(['tx', 'undo', '2', '--keep-needed', '--dry-run', '--json'])
  const {
    plans,
  }: { plans: readonly { command: string; bytes: number; packages: number; transactions: number }[] } =
    JSON.parse(told.stdout)
  assert.deepEqual(
    plans.map(({ command, packages, transactions }) => [command, packages, transactions]),
    [
      ['vml tx undo 2 --keep-needed', 1, 1],
      ['vml tx undo 2 --with-dependents', 3, 2],
    ],
  )
  assert.ok((plans[1]?.bytes ?? 0) - (plans[0]?.bytes ?? 0) >= 250_000, told.stdout)
  const one = await chroot.vml(['tx', 'undo', '3', '--dry-run'])
  assert.doesNotMatch(one.stdout, /Ways to do it/)
  const first = await chroot.vml(['tx', 'undo', '--to-before', '2', '--dry-run'])
  assert.doesNotMatch(first.stdout, /Ways to do it/)
  assert.equal(renderComparison(compareTrees(before, readTree(chroot.path), { allowed: regenerated })), '')
})

test('--to-before leads back to what was there before any record, undos and redos among them', async () => {
  await using chroot = await openChroot()
  const difference = (tree: ReturnType<typeof readTree>) =>
    renderComparison(compareTrees(tree, readTree(chroot.path), { allowed: regenerated }))
  const shell = (line: string) => ['tx', 'run', '--', 'sh', '-c', line]
  const steps = [
    shell('echo one >/etc/one; echo a >>/etc/hosts'),
    ['tx', 'undo', '1'],
    ['tx', 'redo', '1'],
    shell('echo two >/etc/two; echo b >>/etc/one'),
    ['tx', 'undo', '3'],
  ]
  const trees = []
  for (const step of steps) {
    trees.push(readTree(chroot.path))
    const { status, stderr } = await chroot.vml(step, failed)
    // The last leaves what was changed since, beside.
    assert.ok([0, 3].includes(status), stderr)
  }
  const now = readTree(chroot.path)
  for (let number = steps.length; number >= 1; number--) {
    await chroot.vml(['tx', 'undo', '--to-before', String(number)])
    assert.equal(difference(trees[number - 1] ?? now), '', `to before #${number}`)
    const [last] = await transactionsOf(chroot)
    assert.equal(last?.title, `undo to before #${number}`)
    const shown = await chroot.vml(['tx', 'show', String(last?.number)])
    assert.match(shown.stdout, new RegExp(`command +vml tx undo --to-before ${number}\n`))
    await chroot.vml(['tx', 'undo', String(last?.number)])
    assert.equal(difference(now), '', `and back from #${number}`)
  }
  await chroot.sh('echo mine >/etc/by-hand')
  const dry = await chroot.vml(['tx', 'undo', '--to-before', '1', '--dry-run'])
  assert.match(
    dry.stdout,
    /^ {2}changed by hand since, would be recorded first, and go, too: \/etc\/by-hand$/m,
  )
  assert.match((await transactionsOf(chroot))[0]?.title ?? '', /^undo #\d+: undo to before #1$/)
  await chroot.vml(['tx', 'undo', '--to-before', '1'])
  assert.equal(difference(trees[0] ?? now), '', 'with what was changed by hand')
  const both = await chroot.vml(['tx', 'undo', '1', '--to-before', '2'], failed)
  assert.match(both.stderr, /^vml: Cannot take transactions and --to-before at once/)
})

test('what is in force again through an undo of its undo is in the way, not that undo; and it alone is taken along', async () => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  const of = (name: string, version: string) => ({ name, version, files: { [`/usr/lib/${name}`]: version } })
  await archive.publish(of('lib', '1'), of('other', '1'))
  await chroot.vml(['tx', 'enable'])
  await apt(chroot, ['install', 'lib'])
  await archive.publish(of('lib', '2'))
  await apt(chroot, ['install', 'lib'])
  await apt(chroot, ['install', 'other'])
  await chroot.vml(['tx', 'undo', '2'])
  await chroot.vml(['tx', 'undo', '--to-before', '3'])
  const refused = await chroot.vml(['tx', 'undo', '1'], failed)
  assert.match(refused.stderr, /lib was changed again by #2 \(/)
  const along = await chroot.vml(['tx', 'undo', '1', '--with-dependents'])
  assert.match(along.stderr, /^Undo #2, #1\n {2}− {2}lib:all {2}2 {2}purged\n {2}\d+ path/m)
  assert.equal((await chroot.sh('ls /usr/lib/lib /usr/lib/other', failed)).stdout, '')
})

test('what one of several in one undo cannot take back stays for all of them; what is put beside are files of their own', async () => {
  await using chroot = await openChroot()
  const run = async (line: string) => await chroot.vml(['tx', 'run', '--', 'sh', '-c', line])
  const read = (path: string) => readFileSync(join(chroot.path, path), 'utf8')
  const stays = async (numbers: readonly string[]) => {
    const { status, stdout, stderr } = await chroot.vml(['tx', 'undo', ...numbers], failed)
    assert.equal(status, 3, stderr)
    return stderr + stdout
  }
  await chroot.sh('echo a=1 >/etc/x.conf')
  await run('echo a=2 >/etc/x.conf')
  await chroot.sh('echo a=3 >/etc/x.conf')
  await run('echo a=4 >/etc/x.conf')
  const told = await stays(['1', '3'])
  assert.match(told, /^ {2}no path changes, /m)
  assert.match(told, /^ {2}stays {2}\/etc\/x\.conf: the same place was changed since/m)
  assert.match(
    told,
    /^Nothing of it was taken back: #4 put 2 files beside\n1 path stayed as it is; beside lie/m,
  )
  assert.doesNotMatch(told, /Undone|paths ok/)
  assert.deepEqual(['etc/x.conf', 'etc/x.conf.mine', 'etc/x.conf.old'].map(read), ['a=4\n', 'a=4\n', 'a=1\n'])
  await chroot.sh('cd /etc; echo one >l1; ln l1 l2; ln l1 l3; ln l1 l4')
  await run('cd /etc; rm l1 l2 l3 l4; for n in 1 2 3 4; do echo new$n >l$n; done')
  await chroot.sh('cd /etc; echo mine >l1; echo mine >l3')
  const [last] = await transactionsOf(chroot)
  await stays([String(last?.number)])
  const links = ['l1', 'l1.old', 'l1.mine', 'l2', 'l3.old', 'l4'].map((name) => {
    const { nlink } = statSync(join(chroot.path, 'etc', name))
    return [name, nlink, read(`etc/${name}`)]
  })
  assert.deepEqual(links, [
    ['l1', 1, 'mine\n'],
    ['l1.old', 1, 'one\n'],
    ['l1.mine', 1, 'mine\n'],
    ['l2', 2, 'one\n'],
    ['l3.old', 1, 'one\n'],
    ['l4', 2, 'one\n'],
  ])
})

test('a redo that brings nothing back but copies beside says so, and the list that it is not in force', async () => {
  await using chroot = await openChroot()
  const change = async (script: string) =>
    await chroot.vml(['tx', 'run', '--', 'sed', '-i', script, '/etc/seq'])
  const marks = async () =>
    (await chroot.vml(['tx', 'list'])).stdout.replaceAll(/^(#\d+).*?( \[.*\])?$/gm, '$1$2')
  await chroot.sh('printf "l1=a\\nx\\nl2=a\\n" >/etc/seq')
  await change('s/l1=a/l1=b/')
  await change('s/l1=b/l1=c/')
  await chroot.vml(['tx', 'undo', '2'])
  await chroot.vml(['tx', 'undo', '1'])
  const redo = await chroot.vml(['tx', 'redo', '2'], failed)
  assert.equal(redo.status, 3)
  assert.match(redo.stdout, /^Nothing of it was brought back: #5 put 2 files beside\n/m)
  assert.doesNotMatch(redo.stdout, /Redone|paths ok/)
  assert.match(redo.stderr, /^To have these away: vml tx undo 5$/m)
  assert.equal(
    (await chroot.sh('head -qn 1 /etc/seq /etc/seq.mine /etc/seq.old')).stdout,
    'l1=a\nl1=a\nl1=c\n',
  )
  assert.equal(
    await marks(),
    '#5\n#4\n#3 [undone by #5, in part]\n#2 [brought back by #5, in part]\n#1 [undone by #4]\n',
  )
  assert.match(
    (await chroot.vml(['tx', 'show', '2'])).stdout,
    /^ *redo +brought back by #5, in part\n *undo +vml tx undo 2$/m,
  )
  assert.match(
    (await chroot.vml(['tx', 'show', '5'])).stdout,
    /paths {2}passed: none changed, copies put beside\n/,
  )
})

test('a package that was changed again stands in the way by its name, and stays as such where the rest is taken back', async () => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  const of = (name: string, version: string) => ({ name, version, files: { [`/usr/lib/${name}`]: version } })
  await archive.publish(of('pa', '1'), of('pb', '1'))
  await chroot.vml(['tx', 'enable'])
  await apt(chroot, ['install', 'pa', 'pb'])
  await archive.publish(of('pa', '2'))
  await apt(chroot, ['install', 'pa'])
  const refused = await chroot.vml(['tx', 'undo', '1'], failed)
  assert.equal(refused.status, 14)
  assert.match(
    refused.stderr,
    /^vml: Cannot undo #1 alone: pa was changed again by #2 \(apt-get .*\)\n {5}Nothing/,
  )
  const undo = await chroot.vml(['tx', 'undo', '1', '--keep-needed'])
  assert.match(undo.stdout, /^ {2}changed again since, stays: pa$/m)
  assert.doesNotMatch(undo.stdout + undo.stderr, /still needed/)
  assert.equal((await chroot.sh('cat /usr/lib/pa; ls /usr/lib/pb', failed)).stdout, '2')
})

test('an undo that could take nothing back is refused, and says what stays', async () => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  const lib = { name: 'lib', files: { '/usr/lib/lib': 'x\n' } }
  await archive.publish(
    { ...lib, version: '1' },
    { name: 'user', version: '1', files: { '/usr/bin/user': 'x\n' }, fields: { Depends: 'lib' } },
  )
  await chroot.vml(['tx', 'enable'])
  await apt(chroot, ['install', 'lib'])
  await apt(chroot, ['install', 'user'])
  for (const also of [[], ['--dry-run']]) {
    const refused = await chroot.vml(['tx', 'undo', '1', '--keep-needed', ...also], failed)
    assert.equal(refused.status, 14)
    assert.match(
      refused.stderr,
      /^vml: Cannot undo #1: nothing of it can be taken back: lib is still needed\n {5}Nothing was changed\. This can be done:\n/,
    )
  }
  assert.equal((await transactionsOf(chroot)).length, 2)

  // A file of a package that stays as it is would be found by dpkg --verify: the proof says which it was not asked of.
  await archive.publish({ name: 'lib', version: '2', files: { '/usr/lib/lib': 'y\n' } })
  await apt(chroot, ['install', 'lib'])
  await chroot.sh('echo mine >/usr/lib/lib')
  const undo = await chroot.vml(['tx', 'undo', '3'], failed)
  assert.equal(undo.status, 3, undo.stderr)
  assert.match(undo.stdout, /; files that stay: not as its package has it: \/usr\/lib\/lib\n/)
  assert.match((await chroot.vml(['tx', 'list'])).stdout, /\[undone by #5, in part\]/)
  const redo = await chroot.vml(['tx', 'redo', '3'])
  assert.match(redo.stderr, /^Redo #3\n {2}#5 had left a part of it: that part stays as it is now\n/m)
  assert.equal((await chroot.sh('cat /usr/lib/lib')).stdout, 'mine\n')

  await chroot.vml(['tx', 'run', '--', 'sh', '-c', 'echo one >/etc/m'])
  const [newest] = await transactionsOf(chroot)
  await chroot.sh('echo two >/etc/m')
  const made = await chroot.vml(['tx', 'undo', String(newest?.number)], failed)
  assert.equal(made.status, 14)
  assert.match(
    made.stderr,
    /"\/etc\/m": the same place was changed since\n {5}Nothing was changed\. Take back first what changed it since, or remove it yourself\n$/,
  )
})

test('--scripts runs the scripts of the packages in a stage and names what is not as it was; without the old package, or where scripts would change data, nothing is changed', async () => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  await archive.publish(maker(1))
  await chroot.vml(['tx', 'enable'])
  await apt(chroot, ['install', 'maker'])
  await archive.publish(maker(2), { name: 'extra', version: '1', files: { '/usr/bin/extra': '1\n' } })
  await apt(chroot, ['install', 'maker'])
  const before = readTree(chroot.path)
  await chroot.sh('rm -f /run/ran')
  const planned = await chroot.vml(['tx', 'undo', '2', '--scripts', '--dry-run'])
  assert.match(
    planned.stdout,
    /^Would undo #2\n.*extra:all.*\n.*maker:all +2 → 1 .*\n.*scripts.*\n +apt-get .* install .*maker_1_all\.deb extra-\n +apt-get .* purge extra\n$/,
  )
  const described = await chroot.vml(['tx', 'undo', '2', '--scripts', '--dry-run', '--json'])
  const { commands }: { commands: readonly (readonly string[])[] } = JSON.parse(
    // Lines of progress come before it.
    described.stdout.trimEnd().split('\n').at(-1) ?? '',
  )
  assert.deepEqual(
    commands.map((command) => command.at(-1)),
    ['extra-', 'extra'],
  )
  assert.equal(renderComparison(compareTrees(before, readTree(chroot.path), { allowed: regenerated })), '')
  const undo = await chroot.vml(['tx', 'undo', '2', '--scripts'], failed)
  assert.equal(undo.status, 3, undo.stderr)
  assert.match(undo.stdout, /left over +\/opt\/made-by-2/)
  assert.match((await chroot.sh('cat /run/ran')).stdout, /prerm 2 upgrade 1\npostinst 1 configure 2/)
  assert.equal((await chroot.sh('dpkg-query -W maker')).stdout, 'maker\t1\n')
  assert.ok(!existsSync(join(chroot.path, 'usr/bin/extra')))
  const [recorded] = await transactionsOf(chroot)
  assert.equal(recorded?.source, 'undo')
  assert.equal((await transactionsOf(chroot)).find(({ number }) => number === 2)?.undone_by, recorded?.number)
  await chroot.vml(['tx', 'redo', '2'])
  assert.equal(renderComparison(compareTrees(before, readTree(chroot.path), { allowed: regenerated })), '')

  await chroot.sh('mkdir -p /var/lib/maker; echo mine >/var/lib/maker/data')
  const data = await chroot.vml(['tx', 'undo', '2', '--scripts'], failed)
  assert.equal(data.status, 14, data.stderr)
  assert.match(data.stderr, /change data of services: \/var\/lib\/maker\/data/)
  assert.equal((await chroot.sh('cat /var/lib/maker/data')).stdout, 'mine\n')

  await archive.withdraw('maker', '1')
  const gone = await chroot.vml(['tx', 'undo', '2', '--scripts'], failed)
  assert.equal(gone.status, 20, gone.stderr)
  assert.match(gone.stderr, /Cannot get maker 1: no source has it any more/)
  const plannedGone = await chroot.vml(['tx', 'undo', '2', '--scripts', '--dry-run'], failed)
  assert.ok(gone.stderr.endsWith(plannedGone.stderr), plannedGone.stderr)
  assert.equal(
    (await chroot.sh('dpkg-query -W maker; cat /var/lib/maker/data; ls /var/tmp')).stdout,
    'maker\t2\nmine\n',
  )
})

/** The second version needs another package, and its script leaves a file that no script removes. */
function maker(version: number): TinyPackage {
  const ran = (script: string) => `echo ${script} ${version} "$1" "$2" >>/run/ran`
  return {
    name: 'maker',
    version: String(version),
    ...(version === 1 ? {} : { fields: { Depends: 'extra' } }),
    files: { '/usr/bin/maker': { content: `${version}\n`.repeat(100), mode: 0o755 } },
    scripts: {
      prerm: ran('prerm'),
      postinst: `${ran('postinst')}\necho ${version} >/opt/made-by-${version}\n[ ! -e /var/lib/maker/data ] || echo ${version} >/var/lib/maker/data`,
    },
  }
}

test('rights that were changed since, too, stay and are told; what else was changed comes back', async () => {
  await using chroot = await openChroot()
  const rights = async () => (await chroot.sh('stat -c "%a %U" /opt/x /opt/folder /opt/y')).stdout
  await chroot.sh('mkdir -m 755 /opt/folder; touch /opt/x /opt/y; chmod 644 /opt/x /opt/y')
  await chroot.vml(['tx', 'run', '--', 'sh', '-c', 'cd /opt; chmod 600 x y; chmod 711 folder'])
  await chroot.sh('chmod 640 /opt/x; chmod 700 /opt/folder; chown nobody /opt/y')
  const dry = await chroot.vml(['tx', 'undo', '1', '--dry-run'], { mayFail: true })
  const told = /\/opt\/x: rights changed since, too: 640 now, 644 before the transaction, 600 by it\n/
  assert.match(dry.stdout, told)
  const undone = await chroot.vml(['tx', 'undo', '1'], { mayFail: true })
  assert.equal(undone.status, 3)
  const said = undone.stdout + undone.stderr
  assert.match(said, told)
  assert.match(said, /\/opt\/folder: rights changed since, too: 700 now, 755 before/)
  assert.match(said, /2 paths stayed as they are/)
  assert.equal(await rights(), '640 root\n700 root\n644 nobody\n')
  assert.match((await chroot.vml(['tx', 'list'])).stdout, /in part/)
})

test("a package's program that was patched, or removed, by hand before a transaction comes back so, and is told; one that was diverted is that of its package by now", async () => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  const amy = (version: string) => ({ name: 'amy', version, files: { '/usr/bin/amy': `amy ${version}\n` } })
  const newest = async () => String((await transactionsOf(chroot))[0]?.number)
  const asBefore = /; files as before: not as its package has it: \/usr\/bin\/amy\n/
  await archive.publish(amy('1'))
  await chroot.vml(['tx', 'enable'])
  await apt(chroot, ['install', 'amy'])
  await chroot.sh('echo patched >/usr/bin/amy.new; mv /usr/bin/amy.new /usr/bin/amy')
  await archive.publish(amy('2'))
  for (const line of [
    ['install', 'amy'],
    ['purge', 'amy'],
  ]) {
    await apt(chroot, line)
    const undo = await chroot.vml(['tx', 'undo', await newest()])
    assert.match(undo.stdout, asBefore)
    assert.doesNotMatch(undo.stdout, /--verify ok/)
    assert.equal((await chroot.sh('cat /usr/bin/amy; dpkg-query -W amy')).stdout, 'patched\namy\t1\n')
  }
  await chroot.sh('ln -sf /opt/own-amy /usr/bin/amy')
  await apt(chroot, ['install', 'amy'])
  const linked = await chroot.vml(['tx', 'undo', await newest()])
  assert.match(linked.stdout, asBefore)
  assert.equal((await chroot.sh('readlink /usr/bin/amy')).stdout, '/opt/own-amy\n')
  await chroot.sh('rm /usr/bin/amy')
  await apt(chroot, ['purge', 'amy'])
  const undo = await chroot.vml(['tx', 'undo', await newest()])
  assert.match(undo.stdout, asBefore)
  assert.doesNotMatch(undo.stdout, /--verify ok/)

  // Whoever diverted it goes: what lies at its place then is what the package has by now.
  const upgrade = async (version: string) => {
    await archive.publish(amy(version))
    await apt(chroot, ['install', 'amy'])
    return await newest()
  }
  const state = async () =>
    (await chroot.sh('cd /usr/bin; tail -n +1 amy*; dpkg --verify amy; dpkg-query -W amy', failed)).stdout
  const divert = 'dpkg-divert --quiet --rename --divert /usr/bin/amy.real'
  await archive.publish({
    ...{ name: 'divr', version: '1', files: { '/usr/bin/amy': 'divr\n' } },
    scripts: { preinst: `${divert} --package divr --add /usr/bin/amy` },
  })
  await upgrade('3')
  await apt(chroot, ['install', 'divr'])
  const withPackage = await newest()
  await upgrade('4')
  assert.match(await state(), /> amy <==\ndivr\n\n==> amy\.real <==\namy 4\n/)
  await chroot.vml(['tx', 'undo', withPackage])
  assert.equal(await state(), 'amy 4\namy\t4\n')
  const fifth = await upgrade('5')
  for (const also of [['--dry-run'], []]) {
    const refused = await chroot.vml(['tx', 'redo', withPackage, ...also], failed)
    assert.equal(refused.status, 14, refused.stdout)
    assert.match(refused.stderr, new RegExp(`alone: amy was changed again by #${fifth} \\(`))
    assert.match(refused.stderr, new RegExp(`vml tx redo ${withPackage} --with-dependents `))
  }
  await chroot.vml(['tx', 'redo', withPackage, '--with-dependents'])
  assert.match(await state(), /> amy <==\ndivr\n\n==> amy\.real <==\namy 4\namy\t4\n/)
  await chroot.vml(['tx', 'undo', withPackage])
  await chroot.vml([
    'tx',
    'run',
    '--',
    'sh',
    '-c',
    `${divert} --local --add /usr/bin/amy; echo mine >/usr/bin/amy`,
  ])
  const byHand = await newest()
  await upgrade('6')
  await chroot.vml(['tx', 'undo', byHand])
  assert.equal(await state(), 'amy 6\namy\t6\n')

  // A file of an older version does not come back beneath a newer one, though nobody wrote it since.
  await chroot.vml(['tx', 'run', '--', 'sh', '-c', 'echo "amy 7" >/usr/bin/amy'])
  const early = await newest()
  const seventh = await upgrade('7')
  const older = await chroot.vml(['tx', 'undo', early], failed)
  assert.equal(older.status, 15, older.stdout)
  assert.match(
    older.stderr,
    new RegExp(`"/usr/bin/amy" is not its package's: amy was changed again by #${seventh}\n`),
  )
  assert.match(older.stderr, new RegExp(`vml tx undo --to-before ${early} takes`))
  assert.equal(await state(), 'amy 7\namy\t7\n')
  await chroot.vml(['tx', 'undo', '--to-before', early])
  assert.equal(await state(), 'amy 6\namy\t6\n')
})

test('--keep-needed leaves what the scripts of a package that stays have made, and tells; where nothing else is left it is no way', async () => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  const makes = (version: number) =>
    version === 1 ? {} : { postinst: 'mkdir -p /etc/svc; echo key >/etc/svc/key; groupadd svcgrp' }
  const of = (version: number): TinyPackage[] => [
    {
      name: 'svc',
      version: String(version),
      files: { '/usr/bin/svc': `${version}\n` },
      scripts: makes(version),
    },
    { name: 'oth', version: String(version), files: { '/usr/bin/oth': `${version}\n` } },
  ]
  const needing = (name: string, fields: string) => ({ name, version: '1', fields: { Depends: fields } })
  const state = async () =>
    (await chroot.sh('cat /usr/bin/svc /usr/bin/oth /etc/svc/key; grep -o svcgrp /etc/group')).stdout
  await archive.publish(...of(1), maker(1), needing('gui', 'svc (>= 2)'), needing('more', 'maker (>= 2)'))
  await chroot.vml(['tx', 'enable'])
  await apt(chroot, ['install', 'svc', 'oth', 'maker'])
  await archive.publish(...of(2))
  await apt(chroot, ['install', 'svc', 'oth'])
  await apt(chroot, ['install', 'gui'])
  const undo = await chroot.vml(['tx', 'undo', '2', '--keep-needed'])
  assert.match(
    undo.stdout,
    /^ {2}\d+ paths kept, it may be of svc, which stays: .*\/etc\/group.* \/etc\/svc, \/etc\/svc\/key/m,
  )
  assert.equal(await state(), '2\n1\nkey\nsvcgrp\n')
  await chroot.vml(['tx', 'redo', '2'])
  assert.equal(await state(), '2\n2\nkey\nsvcgrp\n')

  await archive.publish({ ...maker(2), fields: {} })
  await apt(chroot, ['install', 'maker'])
  const [{ number } = { number: 0 }] = await transactionsOf(chroot)
  await apt(chroot, ['install', 'more'])
  const refused = await chroot.vml(['tx', 'undo', String(number)], failed)
  assert.equal(refused.status, 14)
  assert.match(refused.stderr, /--with-dependents/)
  assert.doesNotMatch(refused.stderr, /--keep-needed/)
  const kept = await chroot.vml(['tx', 'undo', String(number), '--keep-needed'], failed)
  assert.equal(kept.status, 14, kept.stdout)
  assert.match(kept.stderr, /nothing of it can be taken back: maker is still needed/)
  assert.equal((await chroot.sh('cat /opt/made-by-2')).stdout, '2\n')
})

test('an undo that would leave a package without one of its files, or with one of another version, is refused, tried or not', async () => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  // No two parts of it are alike: what changes in it is kept as a difference.
  const parts = Array.from({ length: 3000 }, (_, at) => createHash('sha256').update(String(at)).digest('hex'))
  const big = (version: number) => ({
    name: 'big',
    version: String(version),
    files: { '/usr/lib/libbig.so.1': `${parts.join('\n')}${version}\n`, '/usr/share/big': `${version}\n` },
  })
  const conf = '/etc/joe.conf'
  await archive.publish(
    { name: 'joe', version: '1', files: { '/usr/bin/joe': 'joe\n', [conf]: 'a=1\n' }, conffiles: [conf] },
    big(2),
  )
  await chroot.vml(['tx', 'enable'])
  await apt(chroot, ['install', 'joe', 'big'])
  await chroot.sh(`echo b=local >>${conf}; vml tx watch --once`)
  await chroot.vml(['tx', 'disable'])
  await apt(chroot, ['purge', 'joe'])
  await chroot.vml(['tx', 'enable'])
  await archive.publish(big(3))
  await apt(chroot, ['install', 'big'])
  await chroot.sh('echo garbage >>/usr/lib/libbig.so.1')
  const state = async () =>
    (await chroot.sh('dpkg-query -W joe big; sha256sum /usr/lib/libbig.so.1; ls /usr/bin/joe', failed)).stdout
  const before = await state()
  assert.match(before, /^big\t3\n/)
  for (const [number, file, line] of [
    [
      '3',
      '/usr/bin/joe',
      /It comes back by apt-get install joe; after that .* by vml restore 3:PATH --logbook \S+logbook\n/,
    ],
    ['4', '/usr/lib/libbig.so.1', /What makes it whole first: apt-get install --reinstall big\n/],
  ] as const)
    for (const also of [['--dry-run'], []]) {
      const refused = await chroot.vml(['tx', 'undo', number, ...also], failed)
      assert.equal(refused.status, 14, refused.stdout)
      assert.ok(
        refused.stderr.includes(`Cannot bring "${file}" back, which is a package's own: `),
        refused.stderr,
      )
      assert.match(refused.stderr, line)
      assert.equal(await state(), before)
    }
  await apt(chroot, ['install', 'joe'])
  await chroot.vml(['restore', `3:${conf}`, '--logbook', '/var/lib/vml/logbook', '--yes'])
  assert.equal((await chroot.sh(`cat ${conf} /usr/bin/joe`)).stdout, 'a=1\nb=local\njoe\n')
})

test('a package that is half configured, or becomes so again, is in the way of no undo, and told as it was before', async () => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot)
  await archive.publish(
    { name: 'good', version: '1', files: { '/usr/bin/good': '1\n' } },
    {
      name: 'brk',
      version: '1',
      files: { '/usr/bin/brk': '1\n' },
      scripts: { postinst: 'test -e /etc/brk.ready' },
    },
  )
  await chroot.vml(['tx', 'enable'])
  await apt(chroot, ['install', 'good'])
  await chroot.run(['apt-get', '-y', '-q', 'install', 'brk'], failed)
  assert.match((await chroot.sh('dpkg --audit', failed)).stdout, /half configured[^]*\n brk/)
  const undo = await chroot.vml(['tx', 'undo', '1'], failed)
  assert.equal(undo.status, 0, undo.stderr)
  assert.match(undo.stdout, /; dpkg --audit ok, but for what was so before: brk; apt-get check ok\n/)
  assert.equal((await chroot.sh('ls /usr/bin/good', failed)).stdout, '')
  assert.match((await chroot.sh('dpkg --audit', failed)).stdout, /half configured[^]*\n brk/)

  // The next run configures it by the way: what comes back is the half configured package, as it was.
  await chroot.sh('touch /etc/brk.ready')
  await apt(chroot, ['install', 'good'])
  const number = (await transactionsOf(chroot))[0]?.number ?? 0
  const again = async (...words: readonly string[]) => {
    const { status, stdout, stderr } = await chroot.vml(['tx', ...words], failed)
    assert.equal(status, 0, stderr)
    return [stdout, (await chroot.sh("dpkg-query -W -f '${db:Status-Status}' brk", failed)).stdout]
  }
  const [undone, state] = await again('undo', String(number))
  assert.match(undone ?? '', new RegExp(`dpkg --audit ok, but for what was so before #${number}: brk; apt`))
  assert.equal(state, 'half-configured')
  assert.equal((await again('redo', String(number)))[1], 'installed')
  assert.equal((await again('undo', '--to-before', String(number)))[1], 'half-configured')
  assert.equal((await again('undo', '2'))[1], '')
  const [redone, half] = await again('redo', '2')
  assert.match(redone ?? '', /dpkg --audit ok, but for what was so before #\d+: brk; apt/)
  assert.equal(half, 'half-configured')
})

test('files of users and groups stay or go back together, and what is left with a number of somebody else is told', async () => {
  await using chroot = await openChroot()
  const made = 'useradd -r ua; mkdir /var/lib/ua; echo k >/etc/ua.key; chown ua:ua /etc/ua.key /var/lib/ua'
  await chroot.vml(['tx', 'run', '--', 'sh', '-ec', made])
  const number = (await chroot.sh('id -u ua; touch /var/lib/ua/db; chown ua /var/lib/ua/db')).stdout.trim()
  const undone = await chroot.vml(['tx', 'undo', '1'])
  assert.match(
    undone.stdout,
    new RegExp(
      `user ua \\(${number}\\) goes, and whoever gets the number next has what stays: /var/lib/ua\n`,
    ),
  )
  assert.equal((await chroot.sh('useradd -r ub; id -u ub')).stdout.trim(), number)
  const redone = await chroot.vml(['tx', 'redo', '1'], failed)
  assert.equal(redone.status, 3, redone.stderr)
  assert.match(
    redone.stdout,
    new RegExp(`number ${number} of user ua is that of ub by now, who has what comes back .*: /etc/ua.key`),
  )
  for (const name of ['group', 'gshadow', 'passwd', 'shadow'])
    assert.match(redone.stdout, new RegExp(`stays {2}/etc/${name}: `))
  await chroot.sh('pwck -rq; grpck -r; ! grep ^ua: /etc/shadow /etc/gshadow')
})

test('data of a service that was written since beside what comes back stays, and is told with it; where none was, nothing is said', async () => {
  await using chroot = await openChroot()
  await chroot.sh('mkdir /var/lib/svc; cd /var/lib/svc; echo 1 >form; echo old >data')
  const run = 'echo 2 >/var/lib/svc/form'
  await chroot.vml(['tx', 'run', '--', 'sh', '-c', run])
  const told =
    /data in \/var\/lib\/svc: 1 path is taken back, while 2 others were written since and stay: .*data, .*table\n/
  assert.doesNotMatch((await chroot.vml(['tx', 'undo', '1', '--dry-run'])).stdout, /written since/)
  await chroot.sh('cd /var/lib/svc; echo later >>data; echo new >table; touch -d 2001-01-01 form.bak')
  assert.match((await chroot.vml(['tx', 'undo', '1', '--dry-run'])).stdout, told)
  const { stdout } = await chroot.vml(['tx', 'undo', '1'])
  assert.match(stdout, told)
  assert.equal((await chroot.sh('cd /var/lib/svc; cat form data table')).stdout, '1\nold\nlater\nnew\n')
  const { mixed_data: mixed } = JSON.parse(
    (await chroot.vml(['tx', 'redo', '1', '--dry-run', '--json'])).stdout,
  )
  assert.deepEqual(mixed, [])
})

test('an undo whose services work with it already is not taken back under them: without its record it is left to vml tx recover', async () => {
  await using chroot = await openChroot()
  const snapshots = '/var/lib/vml/logbook/snapshots'
  // What systemctl would do, and in the middle of the last thing that an undo does before its record, /run/fails.
  await chroot.sh(`mkdir -p /run/systemd/system; cat >/usr/bin/systemctl <<'X'
#!/bin/sh
case "$*" in
  *list-units*) [ -e /run/foo-stopped ] || echo 'foo.service loaded active running Foo' ;;
  *stop*foo*) : >/run/foo-stopped ;;
  *start*foo*) rm -f /run/foo-stopped; cp /usr/lib/foo-program /run/foo-runs; sh /run/fails ;;
esac
echo "$*" >>/run/calls
X
chmod 755 /usr/bin/systemctl
printf '[Service]\\nExecStart=/usr/lib/foo-program\\n' >/lib/systemd/system/foo.service; echo v1 >/usr/lib/foo-program`)
  await chroot.vml([
    'tx',
    'run',
    '--',
    'sh',
    '-c',
    'echo "# v2" >>/lib/systemd/system/foo.service; echo v2 >/usr/lib/foo-program',
  ])
  const undo = async (what: 'undo' | 'redo', fails: string) => {
    await chroot.sh(`rm -f /run/calls; echo '${fails}' >/run/fails`)
    return await chroot.run(['sh', '-c', `echo $$ >/run/vml-pid; exec vml tx ${what} 1`], failed)
  }
  const recovered = async (now: string) => {
    const calls = await chroot.sh('cat /run/calls; rm /run/calls')
    assert.match(calls.stdout, /stop -- foo.*\n.*daemon-reload\n.*start -- foo.*\n$/)
    assert.equal((await chroot.sh('cat /usr/lib/foo-program /run/foo-runs')).stdout, `${now}\n${now}\n`)
    const { stderr } = await chroot.vml(['tx', 'recover'])
    assert.match(stderr, /it was finished and recorded/)
    // Whoever stops it from here on means it.
    assert.equal((await chroot.sh('cat /run/calls', failed)).stdout, '')
    const [last] = await transactionsOf(chroot)
    const shown = await chroot.vml(['tx', 'show', String(last?.number)])
    assert.equal(shown.stdout.split('2 compared with the plan').length, 2)
    return last
  }
  const full = await undo('undo', `mv ${snapshots} /run/kept-away; : >${snapshots}`)
  assert.equal(full.status, 1)
  assert.match(
    full.stderr,
    /The undo is made, but its record could not be written: .*snapshots.*\n.*vml tx recover/,
  )
  await chroot.sh(`rm ${snapshots}; mv /run/kept-away ${snapshots}`)
  assert.equal((await recovered('v1'))?.title.startsWith('undo #1: '), true)
  const cut = await undo('redo', 'kill -INT $(cat /run/vml-pid)')
  assert.match(cut.stderr, /The redo is made, but its record could not be written/)
  assert.equal((await recovered('v2'))?.title.startsWith('redo #1: '), true)
})
