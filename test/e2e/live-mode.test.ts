// Changes without a stage under the real apt and dpkg: bare dpkg, what fails in a stage, what needs the running system, a root that is an overlay.
import assert from 'node:assert/strict'
import { after, beforeEach, test } from 'node:test'
import { openChroot } from '../chroot.ts'
import { listed, runOnOverlay, shownOf } from '../live-checks.ts'
import { openPackageArchive } from '../package-archive.ts'
import { tinyKinds } from '../tiny-kinds.ts'
import type { TinyPackage } from '../tiny-packages.ts'
import { compareTrees, renderComparison } from '../tree-compare.ts'
import { readTree, type Tree } from '../tree-read.ts'
import { regenerated } from '../tree-rules.ts'

const chroot = await openChroot()
after(async () => await chroot[Symbol.asyncDispose]())
const archive = await openPackageArchive(chroot)
// A locale is written into the archive of all of them, in place.
const kinds = tinyKinds.filter(({ name }) =>
  ['tiny-plain', 'tiny-conffile', 'tiny-rights', 'tiny-locale'].includes(name),
)
const packaged = [1, 2].flatMap((version) => kinds.flatMap((kind) => kind.packages(version)))
const scripted = (name: string, postinst: string): TinyPackage => ({
  name,
  version: '1',
  files: { [`/usr/share/${name}/file`]: 'x\n' },
  scripts: { postinst },
})
await archive.publish(
  ...packaged,
  scripted(
    'choosy',
    '[ ! -e /var/lib/vml/inside ] || { echo not here >&2; exit 7; }\necho made >/etc/choosy',
  ),
  scripted('broken', 'echo "it cannot be" >&2; exit 7'),
  scripted('grub-pc', '[ ! -e /var/lib/vml/inside ]'),
  scripted('writes', 'dd if=/dev/zero of=/usr/bin/tsort bs=1 count=8 conv=notrunc 2>/dev/null'),
)
await chroot.vml(['tx', 'enable'])
let untouched = readTree(chroot.path)
beforeEach(() => {
  untouched = readTree(chroot.path)
})
const files = (version: number) =>
  packaged
    .filter((each) => each.version === String(version))
    .map(({ name, architecture = 'all' }) => `/srv/archive/${name}_${version}_${architecture}.deb`)

function assertSame(tree: Tree, what: string): void {
  const comparison = compareTrees(tree, readTree(chroot.path), { allowed: regenerated })
  assert.equal(renderComparison(comparison), '', what)
}

async function undoLast(): Promise<void> {
  const [last = ''] = await listed(chroot)
  await chroot.vml(['tx', 'undo', /^#(\d+)/.exec(last)?.[1] ?? ''])
}

test('bare dpkg is recorded, and each call of it is undone exactly, rights, capabilities and ACLs included', async () => {
  const names = kinds.map(({ name }) => name)
  const trees: Tree[] = []
  const calls = [
    ['-i', ...files(1)],
    ['-i', ...files(2)],
    ['-r', ...names],
    ['-P', ...names],
  ]
  for (const call of calls) {
    trees.push(readTree(chroot.path))
    const { stderr } = await chroot.run(['dpkg', ...call])
    assert.match(stderr, /^#\d: \d+ created, \d+ changed, \d+ deleted;/m)
  }
  assert.match(await shownOf(chroot, 2, 'how'), /^live: dpkg was called by itself/)
  for (let number = 4; number > 0; number--) {
    await chroot.vml(['tx', 'undo', String(number)])
    assertSame(trees[number - 1] ?? untouched, `undo of #${number}`)
  }
})

test('a call of dpkg that changes nothing makes no transaction, and one that is only tried asks nobody', async () => {
  const count = (await listed(chroot)).length
  await chroot.run(['dpkg', '--no-act', '-i', ...files(1)])
  await chroot.vml(['tx', 'run', '--live', '--', 'true'])
  assert.equal((await listed(chroot)).length, count)
})

test('a package of which a script fails in the stage only is installed in the same run, which apt follows to its end', async () => {
  const { status, stdout, stderr } = await chroot.run(
    ['apt-get', '-y', '-o', 'APT::Status-Fd=1', 'install', 'choosy'],
    { mayFail: true },
  )
  assert.equal(status, 0, stderr)
  // dpkg's messages go where apt shows its output.
  assert.match(
    stdout + stderr,
    /a script of choosy failed in the stage\. It is done again on the machine itself/,
  )
  assert.match(stdout, /^pmstatus:choosy:[\d.]+:Installed choosy/m)
  const [last = ''] = await listed(chroot)
  assert.match(last, /apt-get .* install choosy .*\[live\]/)
  await undoLast()
  assertSame(untouched, 'undone')
})

test('one that fails in both ends as it does without VML, and what it left half done is recorded and undone', async () => {
  const install = ['apt-get', '-y', 'install', 'broken']
  const { status, stdout, stderr } = await chroot.run(install, { mayFail: true })
  assert.equal(status, 100)
  assert.match(stdout, /it cannot be\r?\n/)
  assert.match(stdout, /Errors were encountered while processing:/)
  assert.match(stderr, /^E: Sub-process \S*dpkg returned an error code \(1\)$/m)
  assert.match((await chroot.sh('dpkg --audit')).stdout, /half configured/)
  const [last = ''] = await listed(chroot)
  const number = Number(/^#(\d+)/.exec(last)?.[1])
  assert.equal(await shownOf(chroot, number, 'ended'), 'with status 1')
  await undoLast()
  assertSame(untouched, 'undone')
  assert.equal((await chroot.sh('dpkg --audit')).stdout, '')
})

test('a package that needs the running system is installed there from the beginning, and apt says why', async () => {
  const { stdout } = await chroot.run(['apt-get', '-y', 'install', 'grub-pc'])
  assert.match(stdout, /vml: grub-pc is installed on the system itself: it writes the boot loader/)
  assert.equal(stdout.match(/^Setting up grub-pc/gm)?.length, 1)
  await undoLast()
  assertSame(untouched, 'undone')
})

test('what changed on the machine below the stage has the run done again, on what is there now', async () => {
  const script =
    'echo staged >>/etc/adduser.conf; touch /run/in-stage; while [ -e /run/wait ]; do sleep 0.1; done'
  await archive.publish(scripted('slow', script))
  await chroot.sh('touch /run/wait')
  const child = chroot.start(['apt-get', '-y', 'install', 'slow'])
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()))
  const ended = new Promise((resolve) => child.on('close', resolve))
  await chroot.sh(
    'while [ ! -e /run/in-stage ]; do sleep 0.1; done; echo by hand >>/etc/adduser.conf; rm /run/wait',
  )
  assert.equal(await ended, 0, said)
  assert.match(said, /adduser\.conf was changed on the machine meanwhile\. It is done again/)
  const { stdout } = await chroot.sh('tail -n 2 /etc/adduser.conf')
  assert.equal(stdout, 'by hand\nstaged\n')
  await undoLast()
  assert.equal((await chroot.sh('tail -n 1 /etc/adduser.conf')).stdout, 'by hand\n')
  await chroot.sh(`sed -i '/^by hand$/d' /etc/adduser.conf`)
  assertSame(untouched, 'undone')
})

test('what was written in place and not copied makes the record incomplete at once', async () => {
  await chroot.sh('cp -a /usr/bin/tsort /var/tmp/tsort')
  const { stderr } = await chroot.run(['dpkg', '-i', '/srv/archive/writes_1_all.deb'])
  assert.match(stderr, /Incomplete: 1 pre-image could not be kept/)
  const [last = ''] = await listed(chroot)
  assert.match(last, /\[incomplete\]/)
  const number = /^#(\d+)/.exec(last)?.[1] ?? ''
  const refused = await chroot.vml(['tx', 'undo', number], { mayFail: true })
  assert.equal(refused.status, 20)
  assert.match(refused.stderr, /tsort.*it was written in place, and there was no copy of it/)
  // What the undo would refuse, its plan does not promise.
  const planned = await chroot.vml(['tx', 'undo', number, '--dry-run'], { mayFail: true })
  assert.deepEqual([planned.status, planned.stderr], [refused.status, refused.stderr])
  await chroot.sh('dpkg -P writes; mv /var/tmp/tsort /usr/bin/tsort')
  assertSame(untouched, 'put back by hand')
})

test('dpkg that is killed leaves a record of what it had changed, made by whoever comes next', async () => {
  await archive.publish(scripted('killed', 'kill -KILL $PPID; sleep 1'))
  assert.notEqual(
    (await chroot.run(['dpkg', '-i', '/srv/archive/killed_1_all.deb'], { mayFail: true })).status,
    0,
  )
  const { stderr } = await chroot.vml(['tx', 'recover'])
  assert.match(stderr, /was cut off: what had changed until now is recorded as #\d+/)
  await undoLast()
  assertSame(untouched, 'undone')
  assert.equal((await chroot.sh('ls /var/lib/vml/stage')).stdout, '')
})

test('apt within a command that is run live is part of its transaction', async () => {
  const count = (await listed(chroot)).length
  const { stderr } = await chroot.vml([
    ...['tx', 'run', '--live', '--', 'sh', '-c'],
    'apt-get -qq -y install tiny-conffile; dpkg -i /srv/archive/tiny-plain_1_all.deb; dpkg -r tiny-plain; echo x >/srv/x',
  ])
  assert.doesNotMatch(stderr, /another one is open/)
  assert.equal((await listed(chroot)).length, count + 1)
  await undoLast()
  assertSame(untouched, 'undone')
})

test('where the root is an overlay, as in a container, apt is recorded live and undone', async () => {
  const list = `find / -xdev ! -path '/var/lib/vml*' ! -path '/var/log/*' ! -path '/var/cache/*' ! -path '/proc/*' ! -name '*-old' ! -type d -printf '%p %y %m %U %G %l ' -type f -exec sha256sum {} + 2>/dev/null | sort`
  const { status, stdout, stderr } = await runOnOverlay(
    chroot,
    `rm -rf /var/lib/vml/stage
    ${list} >/tmp/before
    apt-get -y install tiny-plain tiny-rights
    test -e /usr/bin/tiny-plain
    vml tx list
    last=$(vml tx list | sed -n '1s/^#\\([0-9]*\\).*/\\1/p')
    vml tx show $last
    vml tx undo $last
    ${list} >/tmp/after
    cmp /tmp/before /tmp/after || diff /tmp/before /tmp/after
    vml tx run -- sh -c 'echo x >/etc/x'`,
  )
  assert.equal(status, 0, stdout + stderr)
  assert.match(stdout, /how +live: Cannot open a stage: The root is an overlay itself/)
  assert.match(stderr, /The root is an overlay itself.*It is run on the machine itself, and recorded live/)
})
