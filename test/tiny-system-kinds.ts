// Kinds of packages that change the system as a whole: users, services with data, kernels, locales, compiled Python.
import type { PackagedPath, TinyKind } from './tiny-packages.ts'

export const systemKinds: readonly TinyKind[] = [
  {
    name: 'tiny-user',
    packages: (version) => [
      {
        name: 'tiny-user',
        version: String(version),
        fields: { Depends: 'adduser' },
        files: { '/usr/share/tiny-user/version': `${version}\n` },
        scripts: {
          postinst: `adduser --system --group --quiet --home /var/lib/tiny-user tiny-user
adduser --quiet tiny-user mail
echo ${version} >/var/lib/tiny-user/state
chown tiny-user:tiny-user /var/lib/tiny-user/state`,
          postrm: `[ "$1" != purge ] || { rm -rf /var/lib/tiny-user; deluser --quiet --system tiny-user; } >/dev/null`,
        },
      },
    ],
  },
  {
    name: 'tiny-service',
    packages: (version) => [
      {
        name: 'tiny-service',
        version: String(version),
        files: {
          '/usr/sbin/tiny-daemon': { content: daemon, mode: 0o755 },
          '/etc/init.d/tiny-service': { content: initScript, mode: 0o755 },
          '/usr/lib/systemd/system/tiny-service.service': `[Unit]\nDescription=Tiny ${version}\n[Service]\nExecStart=/usr/sbin/tiny-daemon\n[Install]\nWantedBy=multi-user.target\n`,
          '/etc/default/tiny-service': `version=${version}\n`,
        },
        conffiles: ['/etc/init.d/tiny-service', '/etc/default/tiny-service'],
        scripts: {
          // A new version turns the data into its own form, as databases do.
          postinst: `mkdir -p /var/lib/tiny-service
[ -e /var/lib/tiny-service/data ] || echo 'made by ${version}' >/var/lib/tiny-service/data
echo 'form ${version}' >/var/lib/tiny-service/form
deb-systemd-helper enable tiny-service.service >/dev/null
update-rc.d tiny-service defaults >/dev/null
invoke-rc.d tiny-service restart`,
          prerm: `[ "$1" != remove ] || invoke-rc.d tiny-service stop`,
          postrm: `case $1 in
  remove) deb-systemd-helper mask tiny-service.service >/dev/null ;;
  purge)
    rm -rf /var/lib/tiny-service
    update-rc.d tiny-service remove >/dev/null
    deb-systemd-helper purge tiny-service.service >/dev/null
    deb-systemd-helper unmask tiny-service.service >/dev/null
    ;;
esac`,
        },
      },
    ],
  },
  {
    name: 'tiny-kernel',
    packages: (version) => [
      {
        name: 'tiny-kernel',
        version: String(version),
        fields: { Depends: `tiny-kernel-${version}` },
      },
      // As kernels of Debian: each version is a package of its own, and stays beside the next.
      {
        name: `tiny-kernel-${version}`,
        version: '1',
        architecture: 'amd64',
        fields: { Depends: 'tiny-initramfs, cpio, zstd' },
        files: {
          [`/boot/vmlinuz-${version}-tiny`]: `kernel ${version}\n`.repeat(1000),
          [`/boot/config-${version}-tiny`]: `CONFIG_TINY=${version}\n`,
          ...kernelModules(version),
        },
        scripts: {
          postinst: `tiny-depmod ${version}-tiny
update-initramfs -c -k ${version}-tiny
ln -sfn boot/vmlinuz-${version}-tiny /vmlinuz
ln -sfn boot/initrd.img-${version}-tiny /initrd.img`,
          postrm: `case $1 in
  remove)
    rm -f /usr/lib/modules/${version}-tiny/modules.* /boot/initrd.img-${version}-tiny
    ! readlink /vmlinuz | grep -q /vmlinuz-${version}-tiny || rm -f /vmlinuz /initrd.img
    rmdir /usr/lib/modules/${version}-tiny 2>/dev/null || true
    ;;
esac`,
        },
      },
      {
        name: 'tiny-initramfs',
        version: '1',
        files: {
          '/usr/sbin/update-initramfs': { content: updateInitramfs, mode: 0o755 },
          '/usr/sbin/tiny-depmod': { content: depmod, mode: 0o755 },
        },
      },
    ],
  },
  {
    name: 'tiny-locale',
    packages: (version) => [
      {
        name: 'tiny-locale',
        version: String(version),
        files: {
          '/usr/share/tiny-locale/charmap': charmap(),
          '/usr/share/tiny-locale/source':
            'comment_char %\nescape_char /\nLC_CTYPE\nupper <U0041>\nlower <U0061>\nEND LC_CTYPE\n',
        },
        scripts: {
          // It warns of the parts that the source has not, and ends with 1 for that.
          postinst: `for part in a b; do
  localedef -c -i /usr/share/tiny-locale/source -f /usr/share/tiny-locale/charmap tiny_${version}$part 2>/dev/null || [ $? = 1 ]
done`,
        },
      },
    ],
  },
  {
    name: 'tiny-python',
    packages: (version) => [
      {
        name: 'tiny-python',
        version: String(version),
        files: { '/usr/lib/tiny-python/module.py': `version = ${version}\n` },
        scripts: {
          // py3compile writes the time of the source, and a machine's own leavings follow.
          postinst: `mkdir -p /usr/lib/tiny-python/__pycache__
{ echo ${version}; date +%s%N; } >/usr/lib/tiny-python/__pycache__/module.cpython-311.pyc`,
          prerm: `rm -rf /usr/lib/tiny-python/__pycache__`,
        },
      },
    ],
  },
]

const daemon = `#!/bin/sh
echo started >>/var/lib/tiny-service/journal
exec sleep 1000000
`

const initScript = `#!/bin/sh
### BEGIN INIT INFO
# Provides: tiny-service
# Required-Start: $remote_fs
# Required-Stop: $remote_fs
# Default-Start: 2 3 4 5
# Default-Stop: 0 1 6
### END INIT INFO
pid=/run/tiny-service.pid
case $1 in
  start) start-stop-daemon --start --quiet --oknodo --background --make-pidfile --pidfile $pid --startas /usr/sbin/tiny-daemon ;;
  stop) start-stop-daemon --stop --quiet --oknodo --retry 5 --pidfile $pid --remove-pidfile ;;
  restart) "$0" stop && "$0" start ;;
esac
`

// The options of the real one that packages use; times and numbers of inodes differ in each initrd, as there.
const updateInitramfs = `#!/bin/sh
set -e
while getopts cudk: option; do
  case $option in
    c | u | d) action=$option ;;
    k) release=$OPTARG ;;
  esac
done
image=/boot/initrd.img-$release
[ "$action" != d ] || { rm -f "$image"; exit; }
work=$(mktemp -d)
mkdir -p "$work/etc" "$work/modules"
cp /etc/hostname "$work/etc"
cp -r "/usr/lib/modules/$release/." "$work/modules"
rm -f "$work"/modules/*.bin
(cd "$work" && find . | LC_ALL=C sort | cpio --quiet -o -H newc | zstd -q -1) >"$image.new"
mv "$image.new" "$image"
rm -r "$work"
`

// The second file says the same, in a form of its own and never twice alike.
const depmod = `#!/bin/sh
set -e
cd "/usr/lib/modules/$1"
find kernel -name '*.ko' | LC_ALL=C sort | sed 's/$/:/' >modules.dep
{ date +%s%N; cat modules.dep; } >modules.dep.bin
`

function kernelModules(version: number): Record<string, PackagedPath> {
  const names = ['ext4', 'loop', 'overlay', 'tiny']
  return Object.fromEntries(
    names.map((name) => [
      `/usr/lib/modules/${version}-tiny/kernel/${name}.ko`,
      `${name} ${version}\n`.repeat(50),
    ]),
  )
}

/** ASCII, as localedef wants it told: charmap(5). */
function charmap(): string {
  const lines = Array.from({ length: 128 }, (_, code) => {
    const hex = code.toString(16).padStart(2, '0')
    return `<U00${hex.toUpperCase()}> /x${hex} <c${code}>\n`
  })
  return `<code_set_name> ANSI_X3.4-1968\n<comment_char> %\n<escape_char> /\nCHARMAP\n${lines.join('')}END CHARMAP\n`
}
