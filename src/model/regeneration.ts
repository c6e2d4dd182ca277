// Files that a program makes of others: which ones, what makes them anew, and how two of them are shown to be equal in meaning.
import { asRaw } from '../base/raw-text.ts'
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
  /**
   * Which change it stands in for. What nothing makes again is kept where it is lost: a file that is only put aside where it goes (`rewriting` does not
   * count), a log where it does not begin any more with what it was (`growth` does not count).
   */
  readonly standsFor: 'any change' | 'rewriting' | 'growth'
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

/**
 * The rule that may serve in place of a pre-image, of a regular file, by the name alone: whether it really makes that file says `servesAt`. Folders and links are
 * restored exactly, whatever the rules say.
 */
export function ruleOf(path: RawPath): RegenerationRule | undefined {
  const rule = ruleWhenChanged(path)
  return rule?.keepsPreImage === true ? undefined : rule
}

/** The rule for a file that was changed since, and cannot be merged; all that `ruleOf` knows, too. */
export function ruleWhenChanged(path: RawPath): RegenerationRule | undefined {
  return find(path)?.rule
}

/**
 * Whether all is there that makes this very file. A backup of an initrd has the name of one, and its "version" no kernel: nobody would make it again, it is
 * a file as any other.
 */
export function servesAt(path: RawPath, isThere: (path: RawPath) => boolean): boolean {
  return neededFor(path).every((group) => group.some(isThere))
}

/** What must be there for its rule to serve: of each group one path. */
export function neededFor(path: RawPath): readonly (readonly RawPath[])[] {
  const maker = find(path)
  const match = maker?.path.exec(path)
  if (maker === undefined || match === undefined || match === null) return []
  const [program] = maker.argv?.({ path, match, present: true }) ?? []
  const programs = program === undefined || maker.rule.path !== 'made' ? [] : [placesOf(program)]
  return [...programs, ...(maker.needs?.(match) ?? [])].map((group) =>
    group.map((each) => asRaw(each) as RawPath),
  )
}

const programFolders = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']

function placesOf(program: string): readonly string[] {
  return program.startsWith('/') ? [program] : programFolders.map((folder) => `${folder}/${program}`)
}

/**
 * What is to be run, each command once, after the files are in place: for paths that a rule is for, and for those that it is made of (a library
 * for the linker's cache). In an order in which nothing is read before it is made: modules before the initrd.
 */
export function regenerations(paths: Iterable<PathToMake>): RegenerationCommand[] {
  const commands = new Map<string, RegenerationCommand & { order: number }>()
  for (const { path, present, wanted, restored = false } of paths) {
    for (const [order, entry] of makers.entries()) {
      const own = restored ? null : entry.path.exec(path)
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

/** A cache that its program makes anew where it is missing, or is of something else by now: any one of it is as good. */
export function isMadeWhenMissed(path: RawPath): boolean {
  return ruleOf(path)?.path === 'removed'
}

/** Whether the path itself is what is made, and not what it is made of. */
export function isMadeItself({ path, rule }: ToMakeAnew): boolean {
  return makers.some((entry) => entry.rule.name === rule && entry.path.test(path))
}

/** Whether its command writes it each time: one that ends well and did not has made nothing. Of others there are as many as there is something for. */
export function isAlwaysWritten(path: RawPath): boolean {
  return find(path)?.writesAlways === true
}

interface Maker {
  readonly path: RegExp
  readonly madeOf?: RegExp
  readonly rule: RegenerationRule
  readonly required?: boolean
  /** As `isAlwaysWritten` has it. */
  readonly writesAlways?: boolean
  /** What must be there besides the program, where a file of such a name may be somebody's own: of each group one. */
  readonly needs?: (match: RegExpExecArray) => readonly (readonly string[])[]
  readonly argv?: (what: { path: RawPath; match: RegExpExecArray; present: boolean }) => readonly string[]
}

function find(path: RawPath): Maker | undefined {
  return makers.find((maker) => maker.path.test(path))
}

/** Issue 4, section 5: the only ones that may differ after an undo. */
function differs(
  name: string,
  path: RegenerationRule['path'],
  equality: Equality,
  standsFor: RegenerationRule['standsFor'] = 'any change',
): RegenerationRule {
  return { name, keepsPreImage: false, path, standsFor, equality }
}

function exact(name: string, path: RegenerationRule['path'] = 'made'): RegenerationRule {
  return { name, keepsPreImage: true, path, standsFor: 'any change', equality: none }
}

const none: Equality = { kind: 'none' }

/** `depmod` takes what begins so for a version, and all else for a module. */
const version = String.raw`(\d+\.\d+[^/]*)`

function inModules(match: RegExpExecArray, ...names: readonly string[]): readonly string[] {
  const folders = ['/lib/modules', '/usr/lib/modules'].map((folder) => `${folder}/${match[1] ?? ''}`)
  return folders.flatMap((folder) => names.map((name) => `${folder}/${name}`))
}

/** A kernel of that version, and its modules. What makes an image asks for neither: without them it makes one that starts nothing. */
function kernelOf(match: RegExpExecArray): readonly (readonly string[])[] {
  const inBoot = ['vmlinuz', 'vmlinux'].map((name) => `/boot/${name}-${match[1] ?? ''}`)
  return [inModules(match, 'modules.dep', 'modules.builtin'), [...inBoot, ...inModules(match, 'vmlinuz')]]
}

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
    writesAlways: true,
    argv: () => ['ldconfig'],
  },
  {
    path: new RegExp(
      String.raw`${usr}/lib/modules/${version}/modules\.(?:dep|alias|symbols|softdep|weakdep|devname|(?:dep|alias|symbols|builtin|builtin\.alias)\.bin)$`,
    ),
    rule: differs('modules', 'made', { kind: 'lines' }),
    needs: (match) => [inModules(match, 'kernel')],
    argv: ({ match }) => ['depmod', match[1] ?? ''],
  },
  {
    path: new RegExp(String.raw`^/boot/initrd\.img-${version}$`),
    rule: differs('initrd', 'made', { kind: 'initrd' }),
    writesAlways: true,
    needs: kernelOf,
    argv: ({ match, present }) => ['update-initramfs', present ? '-u' : '-c', '-k', match[1] ?? ''],
  },
  {
    path: new RegExp(String.raw`^/boot/initramfs-${version}\.img$`),
    rule: differs('initramfs', 'made', { kind: 'initrd' }),
    writesAlways: true,
    needs: kernelOf,
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
    // Of what somebody wrote into it by hand no program knows.
    rule: { ...exact('info-dir'), equality: { kind: 'lines' } },
    argv: () => ['update-info-dir'],
  },
  {
    path: /^(\/.*)\/__pycache__\/([^/]+?)\.(?:cpython|pypy)[^/]*\.pyc$/,
    rule: differs('pycache', 'removed', none),
    required: false,
    // Some programs are given away as this alone.
    needs: (match) => [[`${match[1] ?? ''}/${match[2] ?? ''}.py`]],
    argv: ({ match }) => ['py3compile', match[1] ?? ''],
  },
  // What a tool puts aside before it writes: it never reads it again, but a person may.
  {
    path: /^\/etc\/(?:passwd|shadow|group|gshadow|subuid|subgid)-$|^\/var\/lib\/dpkg\/(?:status|available|diversions|statoverride|arch)-old$|^\/var\/cache\/debconf\/(?:config|templates|passwords)\.dat-old$/,
    rule: differs('copies-before', 'left', none, 'rewriting'),
  },
  // ucf turns its copies over with each change: what a later one left there stays.
  { path: /^\/var\/lib\/ucf\/(?:hashfile|registry)\.\d+$/, rule: exact('ucf-copies', 'left') },
  // Made of the headers that the record keeps, with all that came later. By the names that rpm gives its files: a copy beside them is a person's own.
  {
    path: /^\/(?:var\/lib|usr\/lib\/sysimage)\/rpm\/(?:rpmdb\.sqlite(?:-wal|-shm|-journal)?|(?:Packages|Index)\.db|__db\.\d+|\.(?:rpm|dbenv)\.lock|[A-Z][a-z0-9]+)$/,
    rule: differs(packageDatabaseRule, 'left', none),
  },
  // A sum of rpm's database as dnf5 last knew it; where it is another, dnf5 looks again.
  { path: /^\/usr\/lib\/sysimage\/libdnf5\/system\.toml$/, rule: differs('dnf5-mark', 'left', none) },
  // Written in the middle, or anew with each run.
  {
    path: /^\/var\/log\/(?:journal\/.+|lastlog|faillog|tallylog|[bw]tmp|apt\/eipp\.log\.xz|fontconfig\.log)$/,
    rule: differs('logs', 'left', none, 'rewriting'),
  },
  { path: /^\/var\/log\//, rule: differs('logs', 'left', none, 'growth') },
  // Fetched again by the next `apt-get update`.
  {
    path: /^\/var\/lib\/apt\/lists\/(?:(?:partial|auxfiles)\/)?(?:lock|[^/]*_(?:InRelease|Release(?:\.gpg)?|Packages|Sources|Index|(?:Translation|Contents|Components|Commands|icons)-[^/_]+)(?:\.[^/]+)?)$/,
    rule: differs('package-lists', 'left', none),
  },
  { path: /^\/var\/cache\/apt\/(?:src)?pkgcache\.bin$/, rule: differs('apt-cache', 'removed', none) },
  {
    path: /^\/var\/cache\/man\/(?:[^/]+\/)*(?:index\.(?:db|bt|dir|pag)|CACHEDIR\.TAG|\d+|cat[^/]+\/[^/]+)$/,
    rule: differs('man-index', 'made', none),
    required: false,
    argv: () => ['mandb', '--quiet'],
  },
  {
    path: /^\/var\/cache\/fontconfig\/(?:[0-9a-f]{32}[^/]*\.cache-[^/]+|CACHEDIR\.TAG)$/,
    rule: differs('font-cache', 'made', none),
    required: false,
    argv: () => ['fc-cache', '--system-only'],
  },
  {
    path: /^\/var\/cache\/(?:ldconfig\/aux-cache|apt\/archives\/lock|(?:dnf|libdnf5|yum|PackageKit|swcatalog|app-info)\/.+)$/,
    rule: differs('caches', 'left', none),
  },
  // Written anew when what they are made of changes, and by nobody when they alone are gone.
  {
    path: /^\/var\/cache\/(?:fwupd|apparmor|cracklib|dictionaries-common)\/.+$/,
    rule: differs('caches-of-packages', 'left', none, 'rewriting'),
  },
  // What else lies there may be a person's own: exact, and left as it is where it was changed since.
  { path: /^\/var\/cache\/(?!debconf\/)/, rule: exact('other-caches', 'left') },
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
