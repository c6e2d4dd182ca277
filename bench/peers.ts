// Who can take a change of software back, each as its own documentation says to do it.
import type { Chroot, ChrootOptions } from '../test/chroot.ts'
import { mirrorPackages } from '../test/mirror-packages.ts'
import type { PackageArchive } from '../test/package-archive.ts'
import { installSnapper, pinnedBytes } from './snapper.ts'
import { upgrade } from './peer-story.ts'

export interface Contender {
  readonly title: string
  readonly chroot: ChrootOptions
  /** Whether the archive has dropped the old version by then. Default: it has. */
  readonly archiveKeeps?: boolean
  /** Puts it in place, on a machine that it then records. */
  prepare(chroot: Chroot, archive: PackageArchive): Promise<void>
  /** The second change, so that it knows of all that it can know of. */
  change(chroot: Chroot): Promise<void>
  /** What it keeps, on the disk. */
  keptBytes(chroot: Chroot): Promise<number>
  /** A script that takes the second change back, and nothing else. */
  readonly undo: string
  /** Its own files, which are not compared. */
  readonly own: readonly string[]
}

async function sumOf(chroot: Chroot, folder: string): Promise<number> {
  const { stdout } = await chroot.sh(
    `find ${folder} -type f -printf '%s\\n' | awk '{ s += $1 } END { printf "%.0f", s }'`,
  )
  return Number(stdout)
}

const vml: Contender = {
  title: 'VML',
  chroot: {},
  prepare: async (chroot) => void (await chroot.vml(['tx', 'enable'])),
  change: async (chroot) =>
    void (await chroot.vml(['tx', 'run', '-m', 'second', '--', 'sh', '-ec', upgrade])),
  keptBytes: async (chroot) => await sumOf(chroot, '/var/lib/vml/logbook'),
  undo: `vml tx undo "$(vml tx list | sed -n 's/^#\\([0-9]*\\).* second .*/\\1/p')"`,
  own: ['/var/lib/vml', '/usr/lib/vml', '/etc/apt/apt.conf.d/00vml', '/etc/dpkg/dpkg.cfg.d/vml'],
}

const snapperShared = {
  chroot: { fileSystem: 'btrfs' },
  prepare: installSnapper,
  async change(chroot: Chroot) {
    await chroot.sh(`set -e
      snapper create -t pre -p -d second >/root/pre
      DISABLE_APT_SNAPSHOT=yes; export DISABLE_APT_SNAPSHOT
      ${upgrade}
      snapper create -t post --pre-number "$(cat /root/pre)" -p >/root/post`)
  },
  keptBytes: pinnedBytes,
  own: ['/.snapshots', '/root/pre', '/root/post', '/var/lib/snapper', '/etc/snapper', '/var/tmp/snapper-apt'],
} as const satisfies Partial<Contender>

const undochange: Contender = {
  ...snapperShared,
  title: 'snapper undochange',
  undo: 'snapper undochange "$(cat /root/pre)..$(cat /root/post)"',
}

/** What a start from the snapshot of before would show: its files are put in the place of those that are there. */
const rollback: Contender = {
  ...snapperShared,
  title: 'snapper rollback',
  undo: 'snapper undochange "$(cat /root/pre)..0"',
}

const etckeeper: Contender = {
  title: 'etckeeper',
  chroot: {},
  async prepare(chroot, archive) {
    await archive.publishFiles(await mirrorPackages(chroot, ['install', 'etckeeper']))
    await chroot.sh(
      'apt-get -y install etckeeper && git config --global user.name root && git config --global user.email root@localhost',
    )
    await chroot.sh('cd /etc && etckeeper commit first; true')
  },
  async change(chroot) {
    await chroot.sh(`set -e
      git -C /etc rev-parse HEAD >/root/pre
      ${upgrade}
      etckeeper commit second
      git -C /etc rev-parse HEAD >/root/post`)
  },
  keptBytes: async (chroot) => await sumOf(chroot, '/etc/.git'),
  undo: `set -e
    etckeeper unclean && etckeeper commit later || true
    cd /etc && git revert --no-edit "$(cat /root/pre)..$(cat /root/post)" && etckeeper init`,
  own: ['/etc/.git', '/etc/.etckeeper', '/root/pre', '/root/post', '/root/.gitconfig'],
}

const byHand: Contender = {
  title: 'apt 2.6 by hand',
  chroot: {},
  archiveKeeps: true,
  prepare: async () => {},
  change: async (chroot) => void (await chroot.sh(`set -e\n${upgrade}`)),
  keptBytes: async () => await Promise.resolve(0),
  undo: 'apt-get -y --allow-downgrades --purge install libfit1=1.4 libsolve2-',
  own: [],
}

const historyUndo: Contender = {
  ...byHand,
  title: 'apt history-undo, archive keeps all',
  chroot: { flavour: 'sid' },
  // The newest of two: later work was one run of apt.
  undo: `apt -y --allow-downgrades history-undo "$(apt history-list 2>/dev/null | awk '/libfit1/ && !/plot/ { print $1; exit }')"`,
}

const historyUndoForgotten: Contender = {
  ...historyUndo,
  title: 'apt history-undo, archive forgets',
  archiveKeeps: false,
}

export const contenders = {
  vml,
  undochange,
  rollback,
  etckeeper,
  hand: byHand,
  history: historyUndo,
  forgotten: historyUndoForgotten,
} as const satisfies Readonly<Record<string, Contender>>
