// Kinds of packages whose maintainer scripts do what scripts are known to do: divert, link, set rights, ask, edit what is not theirs, fail.
import type { TinyKind, TinyPackage } from './tiny-packages.ts'

/** What is not needed of a kind in one place: one package of its name. */
function kind(name: string, describe: (version: number) => Omit<TinyPackage, 'name' | 'version'>): TinyKind {
  return { name, packages: (version) => [{ name, version: String(version), ...describe(version) }] }
}

const swapped = '/usr/share/tiny-swap/data'

export const scriptedKinds: readonly TinyKind[] = [
  kind('tiny-diversion', (version) => ({
    files: { '/usr/bin/tsort': { content: `#!/bin/sh\necho tiny ${version}\n`, mode: 0o755 } },
    scripts: {
      preinst: `dpkg-divert --quiet --package tiny-diversion --divert /usr/bin/tsort.coreutils --rename /usr/bin/tsort`,
      postrm: `[ "$1" != remove ] || dpkg-divert --quiet --package tiny-diversion --rename --remove /usr/bin/tsort`,
    },
  })),
  kind('tiny-alternative', (version) => ({
    files: {
      '/usr/bin/tiny-edit': { content: `${version}\n`, mode: 0o755 },
      '/usr/share/tiny-edit.txt': `${version}\n`,
    },
    scripts: {
      postinst: `update-alternatives --quiet --install /usr/bin/tiny-editor tiny-editor /usr/bin/tiny-edit ${version * 10} \\
  --slave /usr/share/tiny-editor.txt tiny-editor.txt /usr/share/tiny-edit.txt`,
      prerm: `[ "$1" != remove ] || update-alternatives --quiet --remove tiny-editor /usr/bin/tiny-edit`,
    },
  })),
  {
    name: 'tiny-trigger',
    packages: (version) => [
      {
        name: 'tiny-trigger',
        version: String(version),
        fields: { Depends: 'tiny-trigger-index' },
        files: { [`/usr/share/tiny-trigger/${version}`]: `${version}\n` },
      },
      {
        name: 'tiny-trigger-index',
        version: '1',
        files: { '/var/lib/tiny-trigger': { folderMode: 0o755 } },
        control: { triggers: 'interest-noawait /usr/share/tiny-trigger\n' },
        scripts: {
          postinst: `ls /usr/share/tiny-trigger >/var/lib/tiny-trigger/index 2>/dev/null || true`,
          postrm: `[ "$1" != purge ] || rm -rf /var/lib/tiny-trigger`,
        },
      },
    ],
  },
  kind('tiny-rights', (version) => ({
    files: {
      '/usr/bin/tiny-ping': { content: `${version}\n`, mode: 0o755 },
      '/usr/bin/tiny-mail': { content: `${version}\n`, mode: 0o755 },
      '/etc/tiny-rights.conf': `${version}\n`,
      '/var/lib/tiny-rights': { folderMode: 0o750 },
    },
    scripts: {
      postinst: `setcap cap_net_raw+ep /usr/bin/tiny-ping
setfacl -m u:daemon:r-- /etc/tiny-rights.conf
setfacl -d -m g:mail:rwx /var/lib/tiny-rights
setfattr -n user.tiny -v ${version} /etc/tiny-rights.conf
dpkg-statoverride --list /usr/bin/tiny-mail >/dev/null || dpkg-statoverride --update --add root mail 2755 /usr/bin/tiny-mail`,
      postrm: `[ "$1" != purge ] || dpkg-statoverride --remove /usr/bin/tiny-mail || true`,
    },
  })),
  // The scripts of Debian's own manual page dpkg-maintscript-helper(1), in turn for each direction.
  kind('tiny-swap', (version) => {
    const toLink = `dpkg-maintscript-helper dir_to_symlink ${swapped} data.d '' tiny-swap -- "$@"`
    const toFolder = `dpkg-maintscript-helper symlink_to_dir ${swapped} data.d '' tiny-swap -- "$@"`
    const script = version % 2 === 1 ? toFolder : toLink
    return {
      files: {
        ...(version % 2 === 1
          ? { [`${swapped}/one`]: `${version}\n`, [`${swapped}/deep/two`]: `${version}\n` }
          : { [swapped]: { linkTo: 'data.d' }, [`${swapped}.d/one`]: `${version}\n` }),
        '/usr/share/tiny-swap/version': `${version}\n`,
      },
      scripts: { preinst: script, postinst: script, postrm: script },
    }
  }),
  kind('tiny-foreign', (version) => ({
    files: { '/usr/share/tiny-foreign/version': `${version}\n` },
    scripts: {
      // hosts belongs to nobody, adduser.conf to another package's scripts; the last one is a file of a package and not of its configuration.
      postinst: `sed -i '/ tiny-foreign/d' /etc/hosts
echo '127.0.0.${version} tiny-foreign' >>/etc/hosts
echo '# tiny-foreign ${version}' >>/etc/adduser.conf
echo '# tiny-foreign ${version}' >>/usr/share/libc-bin/nsswitch.conf
add-shell /usr/bin/tiny-foreign-shell-${version}`,
      postrm: `[ "$1" != purge ] || sed -i '/ tiny-foreign/d' /etc/hosts`,
    },
  })),
  kind('tiny-ucf', (version) => ({
    fields: { Depends: 'ucf' },
    files: { '/usr/share/tiny-ucf/tiny.conf': `version = ${version}\nsame = yes\n` },
    scripts: {
      postinst: `ucf --three-way --debconf-ok /usr/share/tiny-ucf/tiny.conf /etc/tiny-ucf.conf
ucfr tiny-ucf /etc/tiny-ucf.conf`,
      postrm: `[ "$1" != purge ] || { rm -f /etc/tiny-ucf.conf; ucf --purge /etc/tiny-ucf.conf; ucfr --purge tiny-ucf /etc/tiny-ucf.conf; }`,
    },
  })),
  kind('tiny-debconf', (version) => ({
    fields: { Depends: 'debconf' },
    files: { '/usr/share/tiny-debconf/version': `${version}\n` },
    control: {
      templates: `Template: tiny-debconf/colour\nType: string\nDefault: blue-${version}\nDescription: The colour, ${version}\n It is asked for a test.\n`,
    },
    scripts: {
      config: `. /usr/share/debconf/confmodule\ndb_input medium tiny-debconf/colour || true\ndb_go || true`,
      postinst: `. /usr/share/debconf/confmodule\ndb_get tiny-debconf/colour\necho "colour = $RET" >/etc/tiny-debconf.conf\ndb_stop`,
      postrm: `[ "$1" != purge ] || { rm -f /etc/tiny-debconf.conf; . /usr/share/debconf/confmodule; db_purge; }`,
    },
  })),
]

export type FailingPhase = 'preinst' | 'unpack' | 'postinst' | 'prerm' | 'postrm'

/**
 * A package that fails where it is told to, as long as `/etc/tiny-mended` is not there. `preinst` and `postinst` fail on install and
 * upgrade, `prerm` and `postrm` on upgrade, remove and purge, `unpack` by a file of another package, which nothing mends.
 */
export function failingPackage(
  name: string,
  version: number,
  fails: { readonly phase: FailingPhase; readonly on: 'install' | 'upgrade' | 'remove' | 'purge' },
): TinyPackage {
  const { phase, on } = fails
  const when = {
    install: phase === 'postinst' ? '[ -z "$2" ]' : '[ "$1" = install ]',
    upgrade:
      phase === 'postinst' ? '[ -n "$2" ]' : 'case $1 in upgrade | failed-upgrade) ;; *) false ;; esac',
    remove: '[ "$1" = remove ]',
    purge: '[ "$1" = purge ]',
  }[on]
  const script = `echo ${phase} >>/var/tmp/${name}
if [ ! -e /etc/tiny-mended ] && ${when}; then echo "${name}: fails in ${phase}" >&2; exit 1; fi`
  return {
    name,
    version: String(version),
    files: {
      [`/usr/share/${name}/version`]: `${version}\n`,
      ...(phase === 'unpack' ? { '/usr/bin/env': 'of coreutils\n' } : {}),
    },
    scripts: phase === 'unpack' ? {} : { [phase]: script },
  }
}
