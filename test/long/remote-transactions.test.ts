// The long form of e2e/remote-transactions.test.ts: packages, terminals, and a cut at each rename of a commit, recovered in each way.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { vmlCommand } from '../cli.ts'
import { runProgram } from '../guest-machine.ts'
import { openPackageArchive } from '../package-archive.ts'
import { openRemoteBed, type RemoteBed, runThere } from '../remote-bed.ts'
import { cutAtRename, prepareCuts } from '../remote-cut.ts'
import type { TinyPackage } from '../tiny-packages.ts'

let bed: RemoteBed

before(async () => {
  bed = await openRemoteBed()
  prepareCuts(bed)
})
after(async () => await bed[Symbol.asyncDispose]())

test('of an upgrade over ssh exactly the upgrade is taken back: dpkg and apt agree, a later edit stays', async () => {
  const archive = await openPackageArchive(bed.chroot)
  const user = {
    name: 'user',
    version: '1',
    fields: { Depends: 'tool' },
    files: { '/usr/bin/user-of-tool': '1\n' },
  }
  await archive.publish(tool('1'), tool('2'), user)
  await bed.well('tx', 'run', '--on', 'lab', '--', 'apt-get', 'install', '-y', '-q', 'tool=1')
  const first = String(await bed.last())
  const one = bed.tree()
  await bed.well('tx', 'run', '--on', 'lab', '--', 'apt-get', 'install', '-y', '-q', 'tool')
  const number = String(await bed.last())
  assert.match((await bed.well('tx', 'show', number, '--on', 'lab')).stdout, /~ {2}tool:all +1 → 2/)
  await bed.chroot.sh('sed -i s/last=4/last=5/ /etc/tool.conf')
  await bed.chroot.sh('apt-mark hold tool')
  const pinned = await bed.vml(['tx', 'undo', number, '--on', 'lab'])
  assert.equal(pinned.status, 14, pinned.stderr)
  assert.match(pinned.stderr, /would change tool, which is pinned[^]*apt-mark unhold tool/)
  const planned = await bed.vml(['tx', 'undo', number, '--on', 'lab', '--dry-run'])
  assert.equal(planned.status, 14, planned.stdout)
  assert.match(planned.stdout, /^ {2}pinned: tool; only with --pinned$/m)
  await bed.chroot.sh('apt-mark unhold tool')
  const undone = await bed.well('tx', 'undo', number, '--on', 'lab')
  assert.match(undone.stdout, /dpkg --audit ok; apt-get check ok; dpkg --verify ok, 1 package/)
  assert.equal((await bed.chroot.sh('tool; tail -1 /etc/tool.conf')).stdout, '1\nlast=5\n')
  await bed.chroot.sh('sed -i s/last=5/last=4/ /etc/tool.conf')
  assert.equal(bed.differences(one), '')
  await bed.well('tx', 'run', '--on', 'lab', '--', 'apt-get', 'install', '-y', '-q', 'user')
  const refused = await bed.vml(['tx', 'undo', first, '--on', 'lab'])
  assert.equal(refused.status, 14)
  assert.match(refused.stderr, /user : Depends: tool, which is not installed/)
})

test('a command that fails, or changes nothing, makes no transaction; its output and status come through', async () => {
  const from = bed.tree()
  const failed = await bed.vml(runThere('rm -rf /etc/apt; echo no >&2; exit 7'))
  assert.equal(failed.status, 1)
  assert.match(failed.stderr, /^no$/m)
  assert.match(failed.stderr, /ended with status 7: nothing of it was kept/)
  assert.match(
    (await bed.well('tx', 'run', '--on', 'lab', '--', 'true')).stderr,
    /Nothing that is recorded was changed/,
  )
  assert.equal(bed.differences(from), '')
  await bed.nothingLeft()
})

test('a change of the database of rpm is refused by its name, and what to do instead is said', async () => {
  const from = bed.tree()
  const refused = await bed.vml(runThere('mkdir -p /var/lib/rpm; echo x >/var/lib/rpm/rpmdb.sqlite'))
  assert.equal(refused.status, 17, refused.stderr)
  assert.match(refused.stderr, /changes packages of rpm \(\/var\/lib\/rpm[^]*vml tx enable for dnf/)
  assert.equal(bed.differences(from), '')
  await bed.nothingLeft()
})

test('a command has a terminal where ours is one', async () => {
  const words = [
    ...vmlCommand,
    'tx',
    'run',
    '--on',
    'lab',
    '--',
    'sh',
    '-c',
    'test -t 0 && test -t 1 && echo yes >/etc/terminal',
  ]
  const line = words.map((word) => `'${word}'`).join(' ')
  await runProgram('env', [
    '-i',
    ...Object.entries(bed.environment).map(([name, value]) => `${name}=${value}`),
    ...['script', '-qec', line, '/dev/null'],
  ])
  assert.equal((await bed.chroot.sh('[ -s /etc/terminal ] && echo yes')).stdout, 'yes\n')
})

for (const way of ['recover', 'backward', 'recover.sh'] as const)
  test(`a commit that is cut at any of its renames with all connections is whole or nothing after ${way}`, async (context) => {
    const from = bed.tree()
    let cuts = 0
    for (
      let at = 0;
      await cutAtRename(bed, ['tx', 'run', '--on', 'lab', '-m', 'cut', '--', 'sh', '-c', changing], at);
      at++
    ) {
      cuts++
      if (way === 'recover.sh') await bed.chroot.sh('sh /var/lib/vml/stage/open/journal/recover.sh')
      const words = way === 'backward' ? ['--backward'] : []
      const { stderr } = await bed.well('tx', 'recover', '--on', 'lab', ...words)
      await bed.nothingLeft()
      if (/it was recorded|had been recorded/.test(stderr)) {
        // A record that is there already counts: what is wanted then is an undo.
        assert.ok(way !== 'backward' || /had been recorded/.test(stderr), `at ${at}`)
        const done = await bed.chroot.sh(result)
        assert.equal(done.stdout, 'a\nb\nc\n/x\n', `at ${at}`)
        await bed.well('tx', 'undo', String(await bed.last()), '--on', 'lab')
      } else assert.match(stderr, /nothing of it was kept/, `at ${at}`)
      assert.equal(bed.differences(from), '', `at ${at}`)
    }
    // What came to its end is there, and goes.
    await bed.well('tx', 'undo', String(await bed.last()), '--on', 'lab')
    assert.equal(bed.differences(from), '')
    context.diagnostic(`${cuts} cuts, recovered by ${way}`)
    assert.ok(cuts > 8)
  })

const changing =
  'echo a >/etc/cut-a; mkdir -p /opt/cut/in; echo b >/opt/cut/in/b; echo c >>/etc/hosts; rm -f /etc/issue.net; ln -sfn /x /etc/issue; rm -f /etc/debian_version; mkdir /etc/debian_version'
const result =
  'cat /etc/cut-a /opt/cut/in/b; tail -1 /etc/hosts; readlink /etc/issue; [ ! -e /etc/issue.net ] && [ -d /etc/debian_version ]'

function tool(version: string): TinyPackage {
  return {
    name: 'tool',
    version,
    files: {
      '/usr/bin/tool': { content: `#!/bin/sh\necho ${version}\n`, mode: 0o755 },
      '/etc/tool.conf': `version=${version}\nb\nc\nd\nlast=4\n`,
    },
    conffiles: ['/etc/tool.conf'],
  }
}
