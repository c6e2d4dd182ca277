// A machine of rpm and dnf to change at will, on a file system of its own, with packages of a few hundred bytes.
import { type Chroot, type ChrootOptions, openChroot } from './chroot.ts'
import { buildRpms, publish, rpmPath, type RpmSpec } from './rpm-packages.ts'
import { compareTrees, renderComparison } from './tree-compare.ts'
import { readTree, type Tree } from './tree-read.ts'
import { regenerated } from './tree-rules.ts'

export interface RpmMachine extends Chroot {
  /** Every installed package with what tells two installations of it apart; the order is that of names. */
  installed(): Promise<string>
  /** What differs from a tree that was read before, but for databases: `installed` and `rpm -Va` speak for rpm's, and dnf's is a log. */
  changedSince(tree: Tree): string
  /** The same of two trees, which may be of two machines. */
  differenceOf(one: Tree, other: Tree): string
  tree(): Tree
}

/** `dpkg`: it has both. Without, what Debian brought belongs to no package. */
export async function openRpmMachine(
  specs: readonly RpmSpec[],
  { dpkg = false, ...options }: Omit<ChrootOptions, 'flavour'> & { readonly dpkg?: boolean } = {},
): Promise<RpmMachine> {
  await using resources = new AsyncDisposableStack()
  const chroot = resources.use(await openChroot({ ...options, flavour: 'rpm' }))
  if (!dpkg) await chroot.sh('rm -rf /var/lib/dpkg /var/lib/apt /etc/dpkg /etc/apt')
  await publish(chroot, await buildRpms(chroot, specs))
  // Packages that dnf fetches from a folder get attributes, and the first start of each makes its own folders.
  await chroot.sh('dnf -q makecache && rm -rf /root/rpmbuild/BUILD* /root/rpmbuild/SPECS')
  const owned = resources.move()
  return {
    ...chroot,
    installed: async () =>
      (await chroot.sh("rpm -qa --qf '%{NEVRA} %{INSTALLTIME} %{SIGMD5} %{SHA1HEADER}\\n' | sort")).stdout,
    tree: () => readTree(chroot.path),
    changedSince: (tree) => differenceOf(tree, readTree(chroot.path)),
    differenceOf,
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  }
}

function differenceOf(one: Tree, other: Tree): string {
  return renderComparison(compareTrees(one, other, { allowed: [...regenerated, databases] }))
}

const databases = {
  name: 'databases of rpm and dnf, packages as they were built, and attributes of what was fetched',
  allows: ({ path }: { readonly path: string }) =>
    /^\/root\/rpmbuild\/|^\/var\/lib\/(?:rpm|dnf)(?:\/|$)|^\/var\/cache\/dnf(?:\/|$)|^\/srv\/repository\//.test(
      path,
    ),
}

/** Its file in the machine. */
export function fileOf(spec: RpmSpec): string {
  return rpmPath(spec)
}

/** A package of two files, one of them configuration of five lines. */
export function toolPackage(version: string): RpmSpec {
  return {
    name: 'tool',
    version,
    install: `mkdir -p $R/opt/tool $R/etc; echo ${version} >$R/opt/tool/version; printf 'version=${version}\\nb\\nc\\nd\\nlast=4\\n' >$R/etc/tool.conf`,
    files: ['%dir /opt/tool', '/opt/tool/version', '%config(noreplace) /etc/tool.conf'],
  }
}

/** Its script writes into a file that is not its own, and takes that back when it goes. */
export const editingPackage: RpmSpec = {
  name: 'editing',
  version: '1',
  install: 'mkdir -p $R/opt; echo e >$R/opt/editing',
  sections: '%post\necho 1.2.3.4 editing >>/etc/hosts\n%preun\nsed -i /editing/d /etc/hosts',
  files: ['/opt/editing'],
}
