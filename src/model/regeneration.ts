// Files that a program makes of others: which ones, what makes them anew, and how two of them are shown to be equal in meaning.
import { parentPath, type RawPath } from './raw-path.ts'

/** How it is shown that what is there now means what was there before. */
export type Equality =
  /** The lines that a command prints, sorted. */
  | { readonly kind: 'output'; readonly command: readonly string[] }
  /** The lines of the file itself, sorted. */
  | { readonly kind: 'lines' }
  /** Names, types, modes, owners and hashes of what `unmkinitramfs` unpacks, without times. */
  | { readonly kind: 'initrd' }
  /** Nobody depends on what it says: whoever reads it makes it anew, or it tells of the past. */
  | { readonly kind: 'none' }

export interface RegenerationRule {
  readonly name: string
  /**
   * Whether the content before is kept all the same. Without, the rule is a pre-image by itself: issue 4 lets these alone differ after an undo. With, the path is
   * restored exactly, and the rule only serves where a later change stands in the way.
   */
  readonly keepsPreImage: boolean
  /** What becomes of the path: `made` by the command, `removed` because it is made when it is needed, `left` as it is now. */
  readonly path: 'made' | 'removed' | 'left'
  readonly equality: Equality
}

/** A path that differs, and what of it there is to be. */
export interface PathToMake {
  readonly path: RawPath
  /** Whether it is there now. */
  readonly present: boolean
  /** Whether it was there before k. */
  readonly wanted: boolean
  /** It is put back byte by byte. A program that made it anew all the same would make something else of it. */
  readonly restored?: boolean
}

/** Written down before a commit, for whoever mends a crash: never a command, which a file could have from anybody. */
export interface ToMakeAnew {
  readonly rule: string
  /** What is made, or one of those that it is made of. */
  readonly path: RawPath
}

export interface RegenerationCommand extends ToMakeAnew {
  readonly argv: readonly string[]
  /** Its failure fails the undo. Not so where programs make the file themselves when they miss it. */
  readonly required: boolean
}

/** The rule that serves in place of a pre-image, of a regular file. Folders and links are restored exactly, whatever the rules say. */
export function ruleOf(path: RawPath): RegenerationRule | undefined {
  const rule = ruleWhenChanged(path)
  return rule?.keepsPreImage === true ? undefined : rule
}

/** The rule for a file that was changed since, and cannot be merged; all that `ruleOf` knows, too. */
export function ruleWhenChanged(path: RawPath): RegenerationRule | undefined {
  return find(path)?.rule
}

/**
 * What is to be run, each command once, after the files are in place: for paths that a rule is for, and for those that it is made of (a library
 * for the linker's cache). In an order in which nothing is read before it is made: modules before the initrd.
 */
export function regenerations(paths: Iterable<PathToMake>): RegenerationCommand[] {
  const commands = new Map<string, RegenerationCommand & { order: number }>()
  for (const { path, present, wanted, restored = false } of paths) {
    for (const [order, entry] of makers.entries()) {
      const own = restored && entry.rule.keepsPreImage ? null : entry.path.exec(path)
      const match = own ?? entry.madeOf?.exec(path)
      if (match === undefined || match === null || entry.argv === undefined) continue
      // A file of k's own goes with k; what it was made of may change others like it.
      if (own !== null && !wanted) continue
      const argv = entry.argv({ path, match, present })
      const command = { rule: entry.rule.name, path, argv, required: entry.required ?? true, order }
      // Of several paths one that is there says more: what was not there may go again.
      if (present || !commands.has(argv.join('\0'))) commands.set(argv.join('\0'), command)
    }
  }
  return [...commands.values()]
    .sort((one, other) => one.order - other.order)
    .map(({ rule, path, argv, required }) => ({ rule, path, argv, required }))
}

/** The same command again; undefined where this VML has no such rule, or the path is none of its paths. */
export function commandAgain({ rule, path }: ToMakeAnew, present: boolean): RegenerationCommand | undefined {
  for (const entry of makers) {
    if (entry.rule.name !== rule || entry.argv === undefined) continue
    const match = entry.path.exec(path) ?? entry.madeOf?.exec(path)
    if (!match) continue
    return { rule, path, argv: entry.argv({ path, match, present }), required: entry.required ?? true }
  }
  return undefined
}

/** Whether the path itself is what is made, and not what it is made of. */
export function isMadeItself({ path, rule }: ToMakeAnew): boolean {
  return makers.some((entry) => entry.rule.name === rule && entry.path.test(path))
}

interface Maker {
  readonly path: RegExp
  readonly madeOf?: RegExp
  readonly rule: RegenerationRule
  readonly required?: boolean
  readonly argv?: (what: { path: RawPath; match: RegExpExecArray; present: boolean }) => readonly string[]
}

function find(path: RawPath): Maker | undefined {
  return makers.find((maker) => maker.path.test(path))
}

/** Issue 4, section 5: the only ones that may differ after an undo. */
function differs(name: string, path: RegenerationRule['path'], equality: Equality): RegenerationRule {
  return { name, keepsPreImage: false, path, equality }
}

function exact(name: string): RegenerationRule {
  return { name, keepsPreImage: true, path: 'made', equality: { kind: 'none' } }
}

const none: Equality = { kind: 'none' }
const usr = String.raw`^(?:/usr)?`

/** Of what a package system merges itself (src/packages/package-system.ts): it is a rule where that system is there. */
export const packageDatabaseRule = 'package-database'

/** The first that fits is a path's rule; commands run in this order. */
const makers: readonly Maker[] = [
  // Sources of other caches come first: libraries and their cache, modules, then what is made of both.
  {
    path: /^\/etc\/ld\.so\.cache$/,
    madeOf: /^\/etc\/ld\.so\.conf(?:\.d\/|$)|^(?:\/usr)?(?:\/local)?\/lib(?:32|64|x32)?\/.*\.so(?:\.[^/]+)?$/,
    rule: differs('ld.so.cache', 'made', { kind: 'output', command: ['ldconfig', '-p'] }),
    argv: () => ['ldconfig'],
  },
  {
    path: new RegExp(
      String.raw`${usr}/lib/modules/([^/]+)/modules\.(?:dep|alias|symbols|softdep|weakdep|devname|(?:dep|alias|symbols|builtin|builtin\.alias)\.bin)$`,
    ),
    rule: differs('modules', 'made', { kind: 'lines' }),
    argv: ({ match }) => ['depmod', match[1] ?? ''],
  },
  {
    path: /^\/boot\/initrd\.img-([^/]+)$/,
    rule: differs('initrd', 'made', { kind: 'initrd' }),
    argv: ({ match, present }) => ['update-initramfs', present ? '-u' : '-c', '-k', match[1] ?? ''],
  },
  {
    path: /^\/boot\/initramfs-([^/]+)\.img$/,
    rule: differs('initramfs', 'made', { kind: 'initrd' }),
    argv: ({ path, match }) => ['dracut', '--force', path, match[1] ?? ''],
  },
  {
    path: /^\/usr\/lib\/locale\/locale-archive$/,
    // localedef puts locales into it of which locale-gen knows nothing: it is restored where it can be.
    rule: {
      ...exact('locale-archive'),
      equality: { kind: 'output', command: ['localedef', '--list-archive'] },
    },
    argv: () => ['locale-gen'],
  },
  {
    path: /^\/usr\/share\/info\/dir(?:\.old|\.gz)?$/,
    rule: differs('info-dir', 'made', { kind: 'lines' }),
    argv: () => ['update-info-dir'],
  },
  {
    path: /^(\/.*)\/__pycache__\/[^/]+\.pyc$/,
    rule: differs('pycache', 'removed', none),
    required: false,
    argv: ({ match }) => ['py3compile', match[1] ?? ''],
  },
  // What a tool puts aside before it writes: it never reads it again.
  {
    path: /^\/etc\/(?:passwd|shadow|group|gshadow|subuid|subgid)-$|^\/var\/lib\/dpkg\/[^/]+-old$|^\/var\/cache\/debconf\/[^/]+-old$/,
    rule: differs('copies-before', 'left', none),
  },
  // ucf turns its copies over with each change: what a later one left there stays.
  { path: /^\/var\/lib\/ucf\/(?:hashfile|registry)\.\d+$/, rule: { ...exact('ucf-copies'), path: 'left' } },
  // Made of the headers that the record keeps, with all that came later.
  { path: /^\/(?:var\/lib|usr\/lib\/sysimage)\/rpm\//, rule: differs(packageDatabaseRule, 'left', none) },
  // A sum of rpm's database as dnf5 last knew it; where it is another, dnf5 looks again.
  { path: /^\/usr\/lib\/sysimage\/libdnf5\/system\.toml$/, rule: differs('dnf5-mark', 'left', none) },
  { path: /^\/var\/log\//, rule: differs('logs', 'left', none) },
  { path: /^\/var\/lib\/apt\/lists\//, rule: differs('package-lists', 'left', none) },
  { path: /^\/var\/cache\/apt\/[^/]+\.bin$/, rule: differs('apt-cache', 'removed', none) },
  {
    path: /^\/var\/cache\/man\//,
    rule: differs('man-index', 'made', none),
    required: false,
    argv: () => ['mandb', '--quiet'],
  },
  {
    path: /^\/var\/cache\/fontconfig\//,
    rule: differs('font-cache', 'made', none),
    required: false,
    argv: () => ['fc-cache', '--system-only'],
  },
  { path: /^\/var\/cache\/(?!debconf\/)/, rule: differs('caches', 'left', none) },
  // From here on: exact while nobody changed them since.
  {
    path: /^\/usr\/share\/mime\/(?:mime\.cache|aliases|generic-icons|globs2?|icons|magic|subclasses|treemagic|types|version|XMLnamespaces)$/,
    rule: exact('mime-database'),
    argv: () => ['update-mime-database', '/usr/share/mime'],
  },
  {
    path: /^\/usr\/share\/applications\/mimeinfo\.cache$/,
    rule: exact('desktop-database'),
    argv: () => ['update-desktop-database', '/usr/share/applications'],
  },
  {
    path: /^\/usr\/share\/glib-2\.0\/schemas\/gschemas\.compiled$/,
    rule: exact('gschemas'),
    argv: () => ['glib-compile-schemas', '/usr/share/glib-2.0/schemas'],
  },
  {
    path: /^\/usr\/share\/icons\/[^/]+\/icon-theme\.cache$/,
    rule: exact('icon-cache'),
    argv: ({ path }) => ['gtk-update-icon-cache', '--force', '--quiet', parentPath(path)],
  },
  {
    path: /^\/usr\/lib\/(?:[^/]+\/)?gio\/modules\/giomodule\.cache$/,
    rule: exact('gio-modules'),
    argv: ({ path }) => ['gio-querymodules', parentPath(path)],
  },
  {
    path: /^\/usr\/lib\/([^/]+)\/gdk-pixbuf-2\.0\/2\.10\.0\/loaders\.cache$/,
    rule: exact('pixbuf-loaders'),
    argv: ({ match }) => [
      `/usr/lib/${match[1] ?? ''}/gdk-pixbuf-2.0/gdk-pixbuf-query-loaders`,
      '--update-cache',
    ],
  },
  {
    path: /^\/etc\/ssl\/certs\/(?:ca-certificates\.crt|[0-9a-f]{8}\.\d+)$/,
    rule: exact('ca-certificates'),
    // Hooks of packages (ca-certificates-java) leave work to dpkg, which is kept out while an undo is made.
    argv: () => ['update-ca-certificates', '--hooksdir', '/nonexistent'],
  },
  {
    path: /^\/etc\/udev\/hwdb\.bin$/,
    rule: exact('hardware-database'),
    argv: () => ['systemd-hwdb', 'update'],
  },
  {
    path: new RegExp(String.raw`${usr}/lib/udev/hwdb\.bin$`),
    rule: exact('hardware-database-of-packages'),
    argv: () => ['systemd-hwdb', 'update', '--usr'],
  },
  { path: /^\/boot\/grub\/grub\.cfg$/, rule: exact('boot-menu'), argv: () => ['update-grub'] },
]
