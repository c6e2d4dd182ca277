// VML is killed at any moment of a change without a stage, and of mending it: what had changed is recorded, and undone exactly.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Chroot, openChroot } from '../chroot.ts'
import { listed } from '../live-checks.ts'
import { compareTrees, renderComparison } from '../tree-compare.ts'
import { readTree } from '../tree-read.ts'
import { regenerated } from '../tree-rules.ts'

const killsMax = 40

const script = `
exec 9>/run/script-lock; flock 9
echo edited >>/etc/adduser.conf
for name in tsort sum who; do cp -p /usr/bin/$name /usr/bin/$name.new && echo >>/usr/bin/$name.new && mv /usr/bin/$name.new /usr/bin/$name; done
rm -r /usr/share/libc-bin
chmod 700 /usr/bin/env
mkdir /usr/share/made && echo made >/usr/share/made/file
ln -s nowhere /usr/share/made/link
sleep 0.3`

async function runKilled(chroot: Chroot, args: readonly string[], delayMs: number): Promise<void> {
  const child = chroot.start(['/usr/bin/vml', ...args])
  const ended = once(child, 'exit')
  await Promise.race([ended, sleep(delayMs)])
  child.kill('SIGKILL')
  await ended
}

/** The command outlives VML, as apt and dpkg do. */
async function awaitScript(chroot: Chroot): Promise<void> {
  await sleep(200)
  await chroot.sh('flock /run/script-lock true')
}

test(`${killsMax} times, a change is recorded whole or was not begun`, async (context) => {
  await using chroot = await openChroot()
  // From the start of Node to after the end: each moment has its chance, however fast this computer is.
  const started = performance.now()
  await chroot.vml(['tx', 'run', '--live', '--', 'sh', '-c', script])
  const delayMsMax = (performance.now() - started) * 1.2
  await chroot.vml(['tx', 'undo', '1'])
  let [begun, finished] = [0, 0]
  for (let kill = 0; kill < killsMax; kill++) {
    const before = readTree(chroot.path)
    const count = (await listed(chroot)).length
    await runKilled(chroot, ['tx', 'run', '--live', '--', 'sh', '-c', script], (delayMsMax * kill) / killsMax)
    await awaitScript(chroot)
    // Mending is cut off, too.
    await runKilled(chroot, ['tx', 'recover'], Math.random() * delayMsMax)
    const { stderr } = await chroot.vml(['tx', 'recover'])
    const lines = await listed(chroot)
    const differs = renderComparison(compareTrees(before, readTree(chroot.path), { allowed: regenerated }))
    assert.equal(lines.length, count + (differs === '' ? 0 : 1), `kill ${kill}: ${stderr}\n${differs}`)
    if (differs !== '') {
      begun++
      assert.doesNotMatch(lines[0] ?? '', /incomplete/)
      await chroot.vml(['tx', 'undo', /^#(\d+)/.exec(lines[0] ?? '')?.[1] ?? ''])
    }
    const left = compareTrees(before, readTree(chroot.path), { allowed: regenerated })
    assert.equal(renderComparison(left), '', `kill ${kill}`)
    assert.equal((await chroot.sh('ls -A /var/lib/vml/stage')).stdout, '')
    finished++
  }
  assert.ok(begun > killsMax / 8 && finished === killsMax, `${begun} of ${finished} had begun`)
  context.diagnostic(
    `${finished} kills, ${begun} after the change had begun: all recorded whole and undone exactly`,
  )
})
