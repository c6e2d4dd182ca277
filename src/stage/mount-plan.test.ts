import assert from 'node:assert/strict'
import { test } from 'node:test'
import { rawFromString } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import {
  dataMountsThrough,
  misnamedPart,
  planMounts,
  viewOf,
  type MountPlan,
  type MountRequest,
  type RootView,
} from './mount-plan.ts'

const path = (text: string) => rawFromString(text) as RawPath

function planning(lines: readonly string[], more: Partial<MountRequest> = {}) {
  return planMounts({
    mountInfo: rawFromString(`${lines.join('\n')}\n`),
    root: path('/'),
    state: path('/var/lib/vml'),
    stateOnMount: true,
    isFolder: () => true,
    dataFolders: [],
    ...more,
  })
}

function plan(lines: readonly string[], more: Partial<MountRequest> = {}): MountPlan {
  const planned = planning(lines, more)
  assert.ok(planned.kind === 'stage', JSON.stringify(planned))
  return planned.plan
}

const told = ({ mounts }: MountPlan) =>
  mounts.map((mount) =>
    mount.kind === 'overlay'
      ? `overlay ${mount.path} ${mount.layer}${mount.flags.map((flag) => ` ${flag}`).join('')}`
      : mount.kind === 'alias'
        ? `alias ${mount.path} ${mount.of}`
        : `through ${mount.path}`,
  )

const root = '27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw'
const usual = [
  '/dev',
  '/proc',
  '/run',
  '/sys',
  '/tmp',
  '/var/cache/apt/archives',
  '/var/cache/dnf',
  '/var/cache/libdnf5',
  '/var/cache/yum',
  '/var/lib/apt/lists',
  '/var/log',
  '/var/tmp',
]
const isUsual = (line: string) => usual.includes(line.replace('through ', ''))
const unusual = (mounts: MountPlan) => told(mounts).filter((line) => !isUsual(line))

test('each writable mount gets an overlay with a layer on itself, and what cannot have one is seen through', () => {
  const planned = plan([
    '22 27 0:21 / /proc rw - proc proc rw',
    root,
    '30 27 254:1 / /boot rw,nosuid,nodev - xfs /dev/vdb rw',
    '31 30 254:2 / /boot/efi rw - vfat /dev/vdc rw',
    '32 27 0:40 / /home ro - btrfs /dev/vdd rw',
    '33 27 0:41 / /mnt rw - nfs4 host:/x rw',
    '34 33 254:4 / /mnt/data rw - ext4 /dev/vde rw',
    '35 34 0:42 / /mnt/data/remote rw - fuse.sshfs host: rw',
    '36 34 0:43 / /mnt/data/ram rw,noexec - tmpfs tmpfs rw',
    '37 27 0:44 / /run/x rw - tmpfs tmpfs rw',
    '38 27 0:45 / /var/log/journal rw - ext4 /dev/vdf rw',
  ])
  assert.deepEqual(unusual(planned), [
    'overlay / /var/lib/vml/stage/open/layers/0',
    'overlay /boot /boot/.vml-stage/layers nosuid nodev',
    'through /boot/efi',
    'through /home',
    'through /mnt',
    'overlay /mnt/data /mnt/data/.vml-stage/layers',
    'overlay /mnt/data/ram /mnt/data/ram/.vml-stage/layers noexec',
    'through /mnt/data/remote',
  ])
  assert.deepEqual(told(planned).filter(isUsual).length, usual.length)
  assert.deepEqual(planned.hidden, [
    '/var/lib/vml',
    '/boot/.vml-stage',
    '/mnt/data/.vml-stage',
    '/mnt/data/ram/.vml-stage',
  ])
})

test('a mount that another one hides is no part of a stage, and of mounts on one place the last counts', () => {
  const planned = plan([
    root,
    '30 27 254:1 / /srv rw - ext4 /dev/vdb rw',
    '31 30 254:2 / /srv/in rw - ext4 /dev/vdc rw',
    '32 30 254:3 / /srv rw - xfs /dev/vdd rw',
    '33 32 254:4 / /srv/out rw - ext4 /dev/vde rw',
  ])
  assert.deepEqual(unusual(planned), [
    'overlay / /var/lib/vml/stage/open/layers/0',
    'overlay /srv /srv/.vml-stage/layers',
    'overlay /srv/out /srv/out/.vml-stage/layers',
  ])
})

test('another view of the same files shows what the stage of the first one has, and comes after it', () => {
  const planned = plan([
    root,
    '30 27 254:1 / /srv rw - ext4 /dev/vdb rw',
    '31 27 254:1 /web /home/web rw - ext4 /dev/vdb rw',
    '32 27 254:1 /web /a rw - ext4 /dev/vdb rw',
    '33 27 254:0 /opt/x /data rw - ext4 /dev/vda rw',
    '34 27 254:0 / /again rw - ext4 /dev/vda rw',
    '35 30 254:5 / /srv/other rw - ext4 /dev/vdf rw',
    '36 27 254:1 /other /b rw - ext4 /dev/vdb rw',
  ])
  assert.deepEqual(unusual(planned), [
    'overlay / /var/lib/vml/stage/open/layers/0',
    'alias /again /',
    // What it shows lies under /srv/other, where another mount is seen.
    'overlay /b /b/.vml-stage/layers',
    'alias /data /opt/x',
    'overlay /srv /srv/.vml-stage/layers',
    'alias /a /srv/web',
    'alias /home/web /srv/web',
    'overlay /srv/other /srv/other/.vml-stage/layers',
  ])
})

test('of a btrfs the subvolumes are staged where they are mounted, and neither snapshots nor the whole', () => {
  const planned = plan([
    '27 1 0:30 /@ / rw - btrfs /dev/vda rw,subvol=/@',
    '30 27 0:30 /@home /home rw - btrfs /dev/vda rw,subvol=/@home',
    '31 27 0:30 / /mnt/all rw - btrfs /dev/vda rw',
  ])
  assert.deepEqual(unusual(planned), [
    'overlay / /var/lib/vml/stage/open/layers/0',
    'through /.snapshots',
    'overlay /home /home/.vml-stage/layers',
    'through /home/.snapshots',
    'through /mnt/all',
  ])
})

test('VML’s folder on a mount or a volume of its own holds the layer of no other one', () => {
  const apart = plan([root, '30 27 254:1 / /var/lib rw - ext4 /dev/vdb rw'])
  assert.deepEqual(unusual(apart), [
    'overlay / /.vml-stage/layers',
    'overlay /var/lib /var/lib/vml/stage/open/layers/1',
  ])
  const volume = plan(['27 1 0:30 /@ / rw - btrfs /dev/vda rw'], {
    stateOnMount: false,
    isFolder: (folder) => folder !== '/.snapshots',
  })
  assert.deepEqual(unusual(volume), ['overlay / /.vml-stage/layers'])
})

test('a folder as the root is staged as what it lies on', () => {
  const folder = plan(
    [root, '30 27 254:1 / /x rw - ext4 /dev/vdb rw', '31 30 254:2 / /x/r/boot rw - ext4 /dev/vdc rw'],
    {
      root: path('/x/r'),
    },
  )
  assert.deepEqual(unusual(folder), [
    'overlay / /var/lib/vml/stage/open/layers/0',
    'overlay /boot /boot/.vml-stage/layers',
  ])
})

test('where no stage can be had, a sentence says why', () => {
  const refused = (line: string) => {
    const planned = planning([line])
    assert.ok(planned.kind === 'unsupported')
    return planned.reason
  }
  assert.match(refused('27 1 0:30 / / rw - overlay overlay rw'), /overlay itself, as in a container/)
  assert.match(refused('27 1 0:30 / / rw - nfs4 host:/ rw'), /lies on nfs4/)
  assert.match(refused('27 1 0:30 / / rw - zfs pool rw'), /lies on zfs/)
  assert.match(refused('27 1 254:0 / / ro - ext4 /dev/vda rw'), /read-only/)
  assert.match(refused('27 1 254:0 / / rw - ext4 /dev/vda ro'), /read-only/)
  assert.match(refused('22 7 0:21 / /proc rw - proc proc rw'), /no mount point, as in a plain chroot/)
})

test('what is looked at is what would be staged, also where no stage can be had', () => {
  const lines = [
    '33 27 0:41 / /mnt rw - nfs4 host:/x rw',
    '34 33 254:4 / /mnt/data rw - ext4 /dev/vde rw',
    '35 27 254:4 / /other rw - ext4 /dev/vde rw',
  ]
  const told = ({ tops, closed }: RootView) => [
    tops,
    [...closed].filter((at) => !usual.includes(at)).toSorted(),
  ]
  const container = planning(['27 1 0:30 / / rw - overlay overlay rw', ...lines])
  assert.ok(container.kind === 'unsupported')
  for (const view of [container.view, viewOf(plan([root, ...lines]))]) {
    const store = '/mnt/data/.vml-stage'
    assert.deepEqual(
      told(view)
        .flat()
        .filter((at) => at !== '/.vml-stage'),
      ['/', '/mnt/data', '/mnt', store, '/other', '/var/lib/vml'],
    )
  }
})

test('VML’s own folder is empty in the stage, and not looked at, at every path that leads to it', () => {
  const planned = plan(
    [
      root,
      '30 27 254:1 / /data rw - ext4 /dev/vdb rw',
      '31 27 254:1 /vml /var/lib/vml rw - ext4 /dev/vdb rw',
      '32 27 254:1 /vml /srv/second rw - ext4 /dev/vdb rw',
    ],
    { stateOnMount: false },
  )
  assert.deepEqual(unusual(planned), [
    'overlay / /.vml-stage/layers',
    'overlay /data /data/.vml-stage/layers',
  ])
  const own = ['/var/lib/vml', '/data/vml', '/srv/second', '/.vml-stage', '/data/.vml-stage']
  assert.deepEqual(planned.hidden, own)
  const { closed, own: known } = viewOf(planned)
  assert.deepEqual(known, own)
  assert.ok(own.every((at) => closed.has(path(at))))
})

test('a part of the system that a wider mount shows, too, is named', () => {
  const misnamed = (lines: readonly string[]) => {
    const part = misnamedPart(plan([root, ...lines]))
    return part && [part.path, part.of]
  }
  const data = '30 27 254:1 / /data rw - ext4 /dev/vdb rw'
  assert.deepEqual(misnamed(['31 27 254:0 /data/var /var rw - ext4 /dev/vda rw']), ['/var', '/data/var'])
  assert.deepEqual(misnamed([data, '31 27 254:1 /lib /var/lib rw - ext4 /dev/vdb rw']), [
    '/var/lib',
    '/data/lib',
  ])
  assert.equal(misnamed([data]), undefined)
  assert.equal(misnamed([data, '31 27 254:1 /www /var/www rw - ext4 /dev/vdb rw']), undefined)
  assert.equal(misnamed(['31 27 254:0 /usr /srv/jail/usr rw - ext4 /dev/vda rw']), undefined)
  // Made a mount by itself, as services have it that may not write everywhere.
  assert.equal(misnamed(['31 27 254:0 /usr /usr rw - ext4 /dev/vda rw']), undefined)
})

test('a file that was mounted, a service’s data and what is not there are no folders to stage', () => {
  const planned = plan([root, '30 27 254:0 /x /etc/hosts rw - ext4 /dev/vda rw'], {
    isFolder: (at) => at !== '/etc/hosts' && at !== '/var/tmp',
    dataFolders: [path('/var/lib/mysql')],
  })
  assert.deepEqual(unusual(planned), [
    'overlay / /var/lib/vml/stage/open/layers/0',
    'through /etc/hosts',
    'through /var/lib/mysql',
  ])
  assert.equal(told(planned).includes('through /var/tmp'), false)
})

test('without a stage, a root that is an overlay and a boot partition of FAT are looked at, and what is read-only or of a network is not', () => {
  const planned = plan(
    [
      '27 1 0:30 / / rw,relatime - overlay overlay rw',
      '30 27 254:1 / /boot rw - ext4 /dev/vdb rw',
      '31 30 254:2 / /boot/efi rw - vfat /dev/vdc rw',
      '32 27 0:40 / /data ro - ext4 /dev/vdd rw',
      '33 27 0:41 / /mnt rw - nfs4 host:/x rw',
    ],
    { live: true, stateOnMount: true },
  )
  assert.deepEqual(unusual(planned), [
    'overlay / /var/lib/vml/stage/open/layers/0',
    'overlay /boot /boot/.vml-stage/layers',
    'overlay /boot/efi /boot/efi/.vml-stage/layers',
    'through /data',
    'through /mnt',
  ])
})

test('mounts with data that no stage can hold are named; what cannot be written, is made up, or starts the machine is not', () => {
  const lines = [
    root,
    '30 27 0:31 / /mnt/usb rw,relatime - vfat /dev/sdb1 rw',
    '31 27 0:32 / /mnt/net rw,relatime - nfs4 server:/ rw',
    '32 27 0:33 / /mnt/cd ro,relatime - udf /dev/sr0 ro',
    '33 27 0:34 / /boot/efi rw,relatime - vfat /dev/vda1 rw',
    '34 27 0:35 / /var/lib/lxcfs rw,relatime - fuse.lxcfs lxcfs rw',
    '35 27 0:36 / /srv rw,relatime - xfs /dev/vdb rw',
  ]
  const found = dataMountsThrough(plan(lines), rawFromString(`${lines.join('\n')}\n`))
  assert.deepEqual(
    found.map(({ path: at, type }) => `${at} ${type}`),
    ['/mnt/net nfs4', '/mnt/usb vfat'],
  )
})
