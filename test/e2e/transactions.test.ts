import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { after, beforeEach, test } from 'node:test'
import { openChroot } from '../chroot.ts'
import { openPackageArchive } from '../package-archive.ts'
import type { TinyPackage } from '../tiny-packages.ts'
import { compareTrees, renderComparison } from '../tree-compare.ts'
import { readTree } from '../tree-read.ts'
import { regenerated } from '../tree-rules.ts'

// One machine for all of them: what VML knew of it goes before each, and what a test leaves on it, each takes as it is.
const chroot = await openChroot()
after(async () => await chroot[Symbol.asyncDispose]())
const archive = await openPackageArchive(chroot)
beforeEach(async () => await chroot.sh('rm -rf /var/lib/vml'))

const listed = async () => {
  const { stdout } = await chroot.vml(['tx', 'list', '--json'])
  const {
    transactions,
  }: {
    transactions: readonly { number: number; title: string; complete: boolean; undone_by: number | null }[]
  } = JSON.parse(stdout)
  return transactions.toReversed()
}

const changed = (before: ReturnType<typeof readTree>) =>
  renderComparison(compareTrees(before, readTree(chroot.path), { allowed: regenerated }))

const failed = { mayFail: true }

test('a command is one transaction: undone alone, redone, and later work stays (M1, M2, E6)', async () => {
  const before = readTree(chroot.path)
  const script =
    'echo hello >/etc/hello; mkdir -p /opt/tool/bin; echo x >/opt/tool/bin/tool; echo 1.2.3.4 tool >>/etc/hosts'
  await chroot.vml(['tx', 'run', '-m', 'a tool', '--', 'sh', '-c', script])
  const after = readTree(chroot.path)
  await chroot.sh('echo 5.6.7.8 mine >>/etc/hosts')
  const planned = await chroot.vml(['tx', 'undo', '1', '--dry-run'])
  assert.match(planned.stdout, /4 paths deleted/)
  const byPath = await chroot.vml(['tx', 'undo', '1', '--dry-run', '-v'])
  assert.match(byPath.stdout, /^ {2}− \/etc\/hello\n {2}M \/etc\/hosts$/m)
  for (const verb of ['undo', 'redo'])
    assert.match((await chroot.vml(['tx', verb, '--help'])).stdout, /--dry-run .*\bwith -v, of each path/)
  assert.match((await chroot.sh('cat /etc/hello')).stdout, /hello/)
  await chroot.vml(['tx', 'undo', '1'])
  assert.equal((await chroot.sh('tail -1 /etc/hosts')).stdout, '5.6.7.8 mine\n')
  await chroot.sh('sed -i "/mine/d" /etc/hosts')
  assert.equal(changed(before), '')
  await chroot.vml(['tx', 'redo', '1'])
  assert.equal(changed(after), '')
  assert.deepEqual(
    (await listed()).map(({ title, undone_by }) => [title, undone_by]),
    [
      ['a tool', null],
      ['changes by hand: /etc/hosts', null],
      ['undo #1: a tool', 5],
      ['changes by hand: /etc/hosts', null],
      ['redo #1: a tool', null],
    ],
  )
  // One file as it was before, beside: the folders above it in the record are no part of it.
  const system = ['--logbook', '/var/lib/vml/logbook']
  await chroot.vml(['restore', '1:/etc/hosts', '--to', '/run/old', ...system])
  assert.equal((await chroot.sh('grep -c -e tool -e mine /run/old/hosts', failed)).stdout, '0\n')
})

test('with --quiet the results stay: what was made, and as which number', async () => {
  const quiet = async (...words: readonly string[]) => await chroot.vml(['tx', ...words, '--quiet'])
  const run = await chroot.vml(['tx', 'run', '--quiet', '--', 'sh', '-c', 'echo a >/etc/one; echo said'])
  // Standard output is the command's.
  assert.equal(run.stdout, 'said\n')
  assert.match(run.stderr, /^#1: 1 created, .* vml tx undo 1\n$/)
  const undo = await quiet('undo', '1')
  assert.match(undo.stdout, /^Undone as #2: .*\n$/)
  assert.equal(undo.stderr, '')
  const plan = await quiet('redo', '1', '--dry-run')
  assert.match(plan.stdout, /^Would redo #1\n {2}1 path created, 2 B to write\n/)
  const loud = await chroot.vml(['tx', 'redo', '1'])
  assert.match(loud.stdout, /^Redone as #3: .*\n$/)
  assert.match(
    loud.stderr,
    /^Redo #1\n {2}1 path created, 2 B to write\n[^]*^To take it back: vml tx undo 3$/m,
  )
  await quiet('undo', '3')
})

test('several are taken back in one step, and what was done between them stays', async () => {
  for (const [name, text] of [
    ['one', 'a'],
    ['two', 'b'],
    ['one', 'c'],
  ])
    await chroot.vml(['tx', 'run', '--', 'sh', '-c', `echo ${text} >/etc/${name}`])
  await chroot.vml(['tx', 'undo', '3', '1', '1'])
  assert.equal((await chroot.sh('cat /etc/one /etc/two', failed)).stdout, 'b\n')
  assert.deepEqual(
    (await listed()).map(({ undone_by }) => undone_by),
    [4, null, 4, null],
  )
  const again = await chroot.vml(['tx', 'undo', '2', '3'], failed)
  assert.match(again.stderr, /Cannot take back #3: #4 did it already/)
  // It would bring back more than it names.
  for (const also of [['--dry-run'], []]) {
    const alone = await chroot.vml(['tx', 'redo', '3', ...also], failed)
    assert.equal(alone.status, 14)
    assert.match(
      alone.stderr,
      /^vml: Cannot bring back #3 alone: #4 took it back together with #1\n {5}Nothing was changed\. vml tx undo 4 brings back both;/,
    )
  }
  assert.equal((await chroot.sh('cat /etc/one /etc/two', failed)).stdout, 'b\n')
  assert.match(
    (await chroot.vml(['tx', 'show', '3'])).stdout,
    /undone by #4; vml tx undo 4 brings it back, with 1 other /,
  )
  await chroot.vml(['tx', 'undo', '4'])
  assert.equal((await chroot.sh('cat /etc/one /etc/two')).stdout, 'c\nb\n')
  assert.deepEqual(
    (await listed()).map(({ undone_by }) => undone_by),
    [null, null, null, 5, null],
  )
})

test('a command that fails changes nothing, one that changes nothing is no transaction (A9)', async () => {
  const before = readTree(chroot.path)
  const run = await chroot.vml(
    ['tx', 'run', '--', 'sh', '-c', 'rm -rf /etc/apt; echo x >/etc/passwd; exit 7'],
    failed,
  )
  assert.equal(run.status, 1)
  assert.match(run.stderr, /ended with status 7: nothing of it was kept/)
  const nothing = await chroot.vml(['tx', 'run', '--json', '--', 'true'])
  assert.doesNotMatch(nothing.stdout, /committing/)
  assert.match(nothing.stdout, /"outcome":"nothing"/)
  assert.equal(changed(before), '')
  assert.deepEqual(await listed(), [])
})

test('apt is recorded with no further action; disable leaves no trace (M7)', async () => {
  await archive.publish(tool('1'), tool('2'))
  const before = readTree(chroot.path)
  await chroot.vml(['tx', 'enable'])
  await chroot.run(['apt-get', 'install', '-y', 'tool=1'])
  await chroot.run(['apt-get', 'install', '-y', 'tool'])
  await chroot.sh('sed -i s/last=4/last=5/ /etc/tool.conf')
  const shown = await chroot.vml(['tx', 'show', '2'])
  assert.match(shown.stdout, /~ {2}tool:all +1 → 2/)
  await chroot.vml(['tx', 'undo', '2'])
  // What the package changed is taken back, what the user changed since stays.
  assert.equal((await chroot.sh('cat /etc/tool.conf')).stdout, 'version=1\nb\nc\nd\nlast=5\n')
  assert.match((await chroot.sh('dpkg-query -W tool')).stdout, /tool\t1\n/)
  await chroot.sh('sed -i s/last=5/last=4/ /etc/tool.conf')
  await chroot.vml(['tx', 'undo', '1'])
  await chroot.vml(['tx', 'disable'])
  assert.equal(changed(before), '')
})

test('tx enable tells what it wrote and what was there already, tx disable what it took away', async () => {
  await using chroot = await openChroot()
  const enable = async (...words: string[]) => (await chroot.vml(['tx', 'enable', ...words])).stdout
  const first = (await enable()).trim().split('\n')
  assert.ok(first.length > 2 && first.every((line) => line.startsWith('Wrote /')), first.join('\n'))
  assert.equal(await enable(), `Already there: ${first.length} files\n`)
  await chroot.sh('rm /usr/lib/vml/hook; chmod 600 /usr/lib/vml/program')
  const wrong = ['/usr/lib/vml/program', '/usr/lib/vml/hook']
  const said = (word: string) => `${[...wrong.map((path) => `${word} ${path}`), there].join('\n')}\n`
  const there = `Already there: ${first.length - wrong.length} files`
  assert.equal(await enable('--dry-run'), said('Would write'))
  assert.equal(await enable(), said('Wrote'))
  assert.match((await chroot.vml(['tx', 'disable'])).stderr, /^Removed the hooks\. What was recorded stays/m)
})

test('what a later transaction needs is named; it is taken along, or left (M2, N09)', async () => {
  await archive.publish(
    { name: 'lib', version: '1', files: { '/usr/lib/lib-one': '1\n' } },
    { name: 'other', version: '1', files: { '/usr/lib/other-one': '1\n' } },
    { name: 'user', version: '1', fields: { Depends: 'lib' }, files: { '/usr/bin/user-of-lib': '1\n' } },
    { name: 'viewer', version: '1', fields: { Depends: 'lib' }, files: { '/usr/bin/viewer': '1\n' } },
  )
  await chroot.vml(['tx', 'enable'])
  await chroot.run(['apt-get', 'install', '-y', 'lib', 'other'])
  await chroot.run(['apt-get', 'install', '-y', 'user', 'viewer'])
  // A refused undo records nothing, prints no plan, and tells what is wrong with the settings once.
  await chroot.sh(
    'echo 10.0.0.7 lab >>/etc/hosts; mkdir -p /etc/vml; echo "transactions = 7" >/etc/vml/config.toml',
  )
  const before = readTree(chroot.path)
  const refused = await chroot.vml(['tx', 'undo', '1'], failed)
  assert.equal(refused.status, 14)
  assert.match(
    refused.stderr,
    /^vml: Cannot undo #1 alone:\n {7}user : Depends: lib, which is not installed \(user came with #2\)\n {7}viewer : .*\n {5}Nothing was changed\. .*:\n {7}vml tx undo 1 --keep-needed /m,
  )
  assert.match(refused.stderr, /^ {7}vml tx undo 1 --with-dependents /m)
  assert.equal(refused.stdout, '')
  assert.equal(refused.stderr.match(/^warning:/gm)?.length, 1, refused.stderr)
  assert.equal((await listed()).length, 2)
  assert.equal(changed(before), '')
  await chroot.sh('rm /etc/vml/config.toml')

  await chroot.vml(['tx', 'undo', '1', '--keep-needed'])
  assert.match(
    (await chroot.sh('dpkg-query -W lib user; dpkg-query -W other || true')).stdout,
    /^lib\t1\nuser\t1\n$/,
  )
  const marks = async () =>
    (await chroot.vml(['tx', 'list'])).stdout.match(/\[[^\]]*\]$/gm)?.toReversed() ?? []
  assert.deepEqual(await marks(), ['[undone by #4, in part]'])
  assert.match((await chroot.vml(['tx', 'show', '1'])).stdout, /undone by #4, in part; vml tx redo 1 /)
  const rest = await chroot.vml(['tx', 'undo', '1'], failed)
  assert.match(
    rest.stderr,
    /^vml: Cannot take back #1: #4 did it already, in part: lib stayed\n {5}.* vml tx redo 1, then vml tx undo 1; .* vml tx undo --to-before 1\n/,
  )
  await chroot.vml(['tx', 'redo', '1'])
  await chroot.vml(['tx', 'undo', '1', '--with-dependents'])
  assert.deepEqual((await marks()).slice(0, 2), ['[undone by #6]', '[undone by #6]'])
  const gone = await chroot.sh('for each in lib user other; do dpkg-query -W $each; done', failed)
  assert.equal(gone.stdout, '')
  const again = await chroot.vml(['tx', 'redo', '2'], failed)
  assert.match(again.stderr, /Cannot bring back #2 alone: #6 took it back together with #1\n/)
  await chroot.vml(['tx', 'undo', '6'])
  const { stdout: titles } = await chroot.vml(['tx', 'list'])
  assert.match(titles, /^#7 .* undo #6: undo #2, #1 /)
  await chroot.vml(['tx', 'disable'])
})

test('a transaction that was cut off is thrown away, or finished and recorded, by the next one (I6)', async () => {
  const before = readTree(chroot.path)
  const child = chroot.start([
    '/usr/bin/vml',
    'tx',
    'run',
    '--',
    'sh',
    '-c',
    'echo cut >/etc/cut; echo ready; sleep 100',
  ])
  for await (const data of child.stdout) if (String(data).includes('ready')) break
  child.kill('SIGKILL')
  await chroot.sh('pkill -x sleep || true')
  const next = await chroot.vml(['tx', 'run', '--', 'sh', '-c', 'echo next >/etc/next'])
  assert.match(next.stderr, /was cut off: nothing of it was kept/)
  assert.ok(!existsSync(join(chroot.path, 'etc/cut')))
  await chroot.vml(['tx', 'undo', '1'])
  assert.equal(changed(before), '')
})

test('an undo that is killed before its caches are made anew has them made by the recovery, forward and backward', async () => {
  // Found first: it waits where it is to, or fails.
  const ldconfig = `#!/bin/sh
if [ -e /run/hold ]; then : >/run/held; exec sleep 600; fi
if [ -e /run/full ]; then echo 'no room' >&2; exit 1; fi
exec /sbin/ldconfig "$@"
`
  await chroot.run(['tee', '/usr/local/sbin/ldconfig'], { input: ldconfig })
  await chroot.sh(
    'chmod 755 /usr/local/sbin/ldconfig; mkdir -p /usr/local/lib; cp -L /lib/x86_64-linux-gnu/libacl.so.1 /usr/local/lib/libacl.so.1; ldconfig',
  )
  await chroot.vml(['tx', 'run', '--', 'sh', '-c', 'rm /usr/local/lib/libacl.so.1; ldconfig'])
  const isCached = async () => (await chroot.sh('ldconfig -p')).stdout.includes('/usr/local/lib/libacl.so.1')
  const kill = async (command: readonly string[], signal: 'SIGKILL' | 'SIGINT' = 'SIGKILL') => {
    await chroot.sh('rm -f /run/held; : >/run/hold')
    const child = chroot.start(['/usr/bin/vml', 'tx', ...command])
    const exited = once(child, 'exit')
    await chroot.sh('while [ ! -e /run/held ]; do sleep 0.05; done')
    await chroot.sh('rm /run/hold')
    if (signal === 'SIGINT') await chroot.sh("ldconfig; pkill -INT -f '[v]ml.js tx undo'")
    else child.kill(signal)
    await exited
    await chroot.sh('pkill -x sleep', failed)
  }
  assert.equal(await isCached(), false)

  await kill(['undo', '1'])
  for (const look of [['list'], ['show', '1'], ['undo', '1', '--dry-run']]) {
    const { stderr } = await chroot.vml(['tx', ...look], failed)
    assert.match(stderr, /"undo #1.*" was cut off while it was committed.*: vml tx recover finishes/)
  }
  const { cut_off: told } = JSON.parse((await chroot.vml(['tx', 'list', '--json'])).stdout)
  assert.match(told, /was cut off while it was committed/)
  const ended = await chroot.vml(['tx', 'recover'])
  assert.match(ended.stderr, /it was finished and recorded/)
  assert.equal(await isCached(), true)

  await kill(['redo', '1'])
  await chroot.sh(': >/run/full')
  const undone = await chroot.vml(['tx', 'recover'])
  assert.match(
    undone.stderr,
    /Cannot make "ld\.so\.cache" anew: ldconfig ended with 1: no room\. Remove the cause, then type: ldconfig/,
  )
  const { validations } = JSON.parse((await chroot.vml(['tx', 'show', '3', '--json'])).stdout)
  assert.deepEqual(validations, [
    { name: 'ldconfig', outcome: 'failed', message: 'ldconfig ended with 1: no room' },
  ])
  await chroot.sh('rm /run/full; ldconfig')
  assert.equal(await isCached(), false)

  // As if programs had made the cache anew right before the kill, and then by the script alone.
  for (const back of [
    'vml tx recover --backward',
    'sh /var/lib/vml/stage/open/journal/recover.sh --backward',
  ]) {
    await kill(['undo', '3'])
    await chroot.sh('ldconfig')
    assert.equal(await isCached(), true)
    const { stderr } = await chroot.sh(back)
    if (back.startsWith('sh ')) assert.match(stderr, /vml tx recover does it, or type: ldconfig\n$/)
    await chroot.vml(['tx', 'recover'])
    assert.equal(await isCached(), false, back)
  }
  // Stopped by hand, it takes itself back, caches included.
  await kill(['undo', '3'], 'SIGINT')
  assert.match((await chroot.vml(['tx', 'recover'])).stderr, /Nothing was left behind/)
  assert.equal(await isCached(), false)
  assert.equal((await listed()).length, 3)
  await chroot.sh('rm /usr/local/sbin/ldconfig')
})

test('while a transaction is open another one is refused, and says which process has it', async () => {
  const child = chroot.start(['/usr/bin/vml', 'tx', 'run', '--', 'sh', '-c', 'echo ready; read end'])
  // Left open: it would end with SIGPIPE.
  for await (const data of child.stdout.iterator({ destroyOnReturn: false }))
    if (String(data).includes('ready')) break
  const second = await chroot.vml(['tx', 'run', '--', 'true'], failed)
  assert.equal(second.status, 11)
  assert.match(second.stderr, /another one is open, of process \d+/)
  const ended = once(child, 'exit')
  child.stdin.end('\n')
  await ended
})

test('a transaction that is not there, and one that was undone, are named failures', async () => {
  const none = await chroot.vml(['tx', 'list'], failed)
  assert.equal(none.status, 10)
  assert.match(none.stderr, /none were recorded/)
  await chroot.vml(['tx', 'run', '--', 'touch', '/etc/once'])
  assert.equal((await chroot.vml(['tx', 'undo', '9'], failed)).status, 4)
  await chroot.vml(['tx', 'undo', '1'])
  const twice = await chroot.vml(['tx', 'undo', '1'], failed)
  assert.equal(twice.status, 14)
  assert.match(twice.stderr, /#2 did it already/)
})

function tool(version: string): TinyPackage {
  return {
    name: 'tool',
    version,
    files: {
      '/usr/bin/tool': { content: `${version}\n`.repeat(3000), mode: 0o755 },
      '/etc/tool.conf': `version=${version}\nb\nc\nd\nlast=4\n`,
    },
    conffiles: ['/etc/tool.conf'],
  }
}
