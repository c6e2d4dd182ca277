// Records that are removed: what others need of them stays, and an undo goes with what it took back.
import assert from 'node:assert/strict'
import test from 'node:test'
import { openChroot } from '../chroot.ts'
import { openPackageArchive } from '../package-archive.ts'
import { noise } from '../store-fixture.ts'
import type { TinyPackage } from '../tiny-packages.ts'
import { apt, transactionsOf } from '../transaction-bed.ts'

function program(version: number): TinyPackage {
  const content = Buffer.concat([noise(200_000, 'same'), noise(200, `version ${version}`)])
  return {
    name: 'program',
    version: String(version),
    files: { '/usr/bin/program': { content, mode: 0o755 } },
  }
}

test('an upgrade can be taken back after the record of a later one was removed, and an undo is not removed alone', async () => {
  await using chroot = await openChroot()
  const archive = await openPackageArchive(chroot, { forgets: true })
  await chroot.vml(['tx', 'enable'])
  const sum = async () => (await chroot.sh('sha256sum </usr/bin/program')).stdout
  const sums: string[] = []
  for (const version of [1, 2, 3]) {
    await archive.publish(program(version))
    await apt(chroot, ['install', 'program'])
    sums.push(await sum())
  }
  const remove = async (...words: readonly string[]) =>
    await chroot.vml(['rm', ...words, '--yes', '--logbook', '/var/lib/vml/logbook'], { mayFail: true })
  const removed = await remove('3')
  assert.equal(removed.status, 0, removed.stderr)
  assert.match(removed.stdout, /Rewrite #2, which needs what they keep/)
  assert.match(removed.stdout, /#3 is in force, and older ones stay: .* --to-before an older one leaves that/)
  assert.deepEqual(
    (await transactionsOf(chroot)).map(({ number, complete }) => [number, complete]),
    [
      [2, true],
      [1, true],
    ],
  )
  // The content that #2 needs is in it now: what is there of the program is of no use.
  await chroot.sh('echo gone >/usr/bin/program.new; mv /usr/bin/program.new /usr/bin/program')
  await chroot.vml(['tx', 'check'])
  const kept = await chroot.sh('vml cat 2:/usr/bin/program --logbook /var/lib/vml/logbook | sha256sum')
  assert.equal(kept.stdout, sums[0])

  await chroot.vml(['tx', 'run', '--', 'touch', '/etc/made'])
  const [made] = await transactionsOf(chroot)
  await chroot.vml(['tx', 'undo', String(made?.number)])
  const [undone] = await transactionsOf(chroot)
  const refused = await remove(String(undone?.number))
  assert.equal(refused.status, 14)
  assert.match(refused.stderr, /it took back #\d+, and whether that counts as undone is told by it/)
  assert.match(refused.stderr, /Nothing was removed/)
  // What is taken back leaves nothing behind; of the oldest nobody goes back past it.
  const both = await remove(String(made?.number), String(undone?.number))
  assert.equal(both.status, 0, both.stderr)
  assert.doesNotMatch(both.stdout, /in force/)
  assert.doesNotMatch((await remove('1')).stdout, /in force/)
})
