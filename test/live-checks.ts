// What tests of changes without a stage share: the words of a record, and a root that is an overlay, as in a container.
import type { Chroot, RunResult } from './chroot.ts'

/** What `vml tx show` says of a record under one heading. */
export async function shownOf(chroot: Chroot, number: number, heading: string): Promise<string> {
  const { stdout } = await chroot.vml(['tx', 'show', String(number), '--paths'])
  return new RegExp(`^  ${heading} +(.*)$`, 'm').exec(stdout)?.[1] ?? ''
}

/** Lines of `vml tx list`, newest first. */
export async function listed(chroot: Chroot): Promise<string[]> {
  return (await chroot.vml(['tx', 'list'])).stdout.split('\n').filter((line) => line.startsWith('#'))
}

/** Runs a script where `/` is an overlay onto that of the chroot; what it did there is gone with it. */
export async function runOnOverlay(chroot: Chroot, script: string): Promise<RunResult> {
  const words = ['unshare', '-m', '--propagation', 'private', 'sh', '-euc', overlayScript, 'sh', script]
  return await chroot.run(words, { mayFail: true })
}

const overlayScript = `
mkdir -p /tmp/over/upper /tmp/over/work /tmp/over/root
mount -t overlay over -o lowerdir=/,upperdir=/tmp/over/upper,workdir=/tmp/over/work /tmp/over/root
for folder in proc sys dev run opt/vml srv/archive; do mount --rbind /$folder /tmp/over/root/$folder; done
mount -t tmpfs tmpfs /tmp/over/root/tmp
exec chroot /tmp/over/root sh -euc "$1"
`
