// A Debian in namespaces whose first process is its own systemd, ended at once and started again from its disk: seconds where an emulated one takes minutes.
import { openChroot } from './chroot.ts'
import { type Cut, type RebootedMachine, until } from './rebooted-machine.ts'

/**
 * All processes are killed, and what they wrote stays; or the file system takes no more, and what was not written out is lost with its journal's
 * memory: ext4's own call for such tests, with EXT4_GOING_FLAGS_NOLOGFLUSH.
 */
const cuts: readonly Cut[] = [
  { how: 'all processes are killed', by: ':' },
  {
    how: 'the power goes',
    by: `perl -e 'open F, "<", "/"; $how = pack("L", 2); ioctl F, 0x8004587d, $how or die $!'`,
  },
]

export async function startRebootedChroot(): Promise<RebootedMachine> {
  const chroot = await openChroot({ flavour: 'full', systemd: true })
  const untilUp = async () =>
    await until(async () => {
      const { stdout } = await chroot.sh('systemctl is-system-running --wait', { mayFail: true })
      return stdout === 'running\n' || stdout === 'degraded\n'
    })
  await untilUp()
  const root: RebootedMachine['root'] = async (command, options) => await chroot.sh(command, options)
  return {
    cuts,
    root,
    vml: async (words, options) => await root(`vml ${words}`, options),
    async crash(script) {
      await root(script, { mayFail: true })
      await chroot.restart()
      await untilUp()
    },
    [Symbol.asyncDispose]: async () => await chroot[Symbol.asyncDispose](),
  }
}
