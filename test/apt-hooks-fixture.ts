// Packages of a few bytes in an archive within a root, and a stand-in for VML that opens a stage, keeps its changes and writes down how it was called.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Shell } from '../src/wire/shell.ts'
import type { Chroot } from './chroot.ts'

export interface TinyPackage {
  readonly name: string
  readonly version: string
  /** Lines of the control file, such as `Depends: alpha`. */
  readonly control?: string
  /** For sh. */
  readonly postinst?: string
}

/** Reachable for apt right away. */
export async function publish(root: Chroot, packages: readonly TinyPackage[]): Promise<void> {
  const archive = join(root.path, 'srv/tiny')
  mkdirSync(archive, { recursive: true })
  writeFileSync(join(root.path, 'etc/apt/sources.list'), 'deb [trusted=yes] file:/srv/tiny ./\n')
  const paragraphs = packages.map((each) => build(archive, each))
  writeFileSync(join(archive, 'Packages'), paragraphs.join('\n'))
  await root.run(['apt-get', 'update', '-q'])
}

function build(archive: string, { name, version, control = '', postinst }: TinyPackage): string {
  const folder = mkdtempSync(join(tmpdir(), 'vml-deb-'))
  try {
    const text = `Package: ${name}\nVersion: ${version}\nArchitecture: all\nMaintainer: a <a@b>\n${control}Description: tiny\n`
    for (const each of ['DEBIAN', 'etc', `usr/share/${name}`])
      mkdirSync(join(folder, each), { recursive: true })
    writeFileSync(join(folder, 'DEBIAN/control'), text)
    writeFileSync(join(folder, 'DEBIAN/conffiles'), `/etc/${name}.conf\n`)
    writeFileSync(join(folder, `etc/${name}.conf`), `of ${version}\n`)
    writeFileSync(join(folder, `usr/share/${name}/file`), `${name} ${version}\n`)
    if (postinst !== undefined)
      writeFileSync(join(folder, 'DEBIAN/postinst'), `#!/bin/sh\n${postinst}\n`, { mode: 0o755 })
    execFileSync('chmod', ['-R', 'go=rX', folder])
    const file = join(archive, `${name}_${version}_all.deb`)
    execFileSync('dpkg-deb', ['--root-owner-group', '-Znone', '-b', folder, file], { stdio: 'ignore' })
    const sha256 = createHash('sha256').update(readFileSync(file)).digest('hex')
    return `${text}Filename: ./${name}_${version}_all.deb\nSize: ${statSync(file).size}\nSHA256: ${sha256}\n`
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Of a machine, from its root. */
export const standIn = '/opt/tried/vml'

/** How each verb ended shall be: a file `VERB` with a status, in the folder. Without `staged` no stage is opened. */
export function putStandIn(root: Chroot): void {
  mkdirSync(join(root.path, 'opt/tried'), { recursive: true })
  writeFileSync(join(root.path, standIn), standInScript)
  chmodSync(join(root.path, standIn), 0o755)
}

const standInScript = `#!/bin/sh
shift 2
echo "$*" >>/opt/tried/log
[ ! -e "/opt/tried/$1" ] || exit "$(cat "/opt/tried/$1")"
stage=/var/lib/vml/stage/open
case $1 in
  begin)
    rm -rf $stage
    [ -e /opt/tried/staged ] || exit 0
    mkdir -p $stage/upper $stage/work $stage/merged
    cp /opt/tried/enter $stage/enter ;;
  live) rm $stage/enter ;;
  dpkg-begin) rm -rf $stage; mkdir -p $stage ;;
  end|dpkg-end) rm -rf /var/lib/vml/ended; mv $stage /var/lib/vml/ended ;;
esac
exit 0
`

export const enterScript = `
stage=/var/lib/vml/stage/open
mount -t overlay vml -o "lowerdir=/,upperdir=$stage/upper,workdir=$stage/work,redirect_dir=off,metacopy=off,index=off,xino=off" $stage/merged || exit 97
for folder in proc dev run tmp srv opt var/log; do mount --rbind /$folder $stage/merged/$folder || exit 97; done
mount -t tmpfs vml $stage/merged/var/lib/vml && : >$stage/merged/var/lib/vml/inside || exit 97
exec chroot $stage/merged "$@"
`

/** Programs of the root, as this user. */
export function shellOf(root: Chroot, user?: number): Shell {
  return {
    label: 'the root',
    start: () => Promise.reject(new Error('not asked for')),
    async run({ argv }) {
      const words = user === undefined ? argv : ['setpriv', `--reuid=${user}`, '--clear-groups', ...argv]
      const { status, stdout, stderr } = await root.run(words, { mayFail: true })
      return { status, stdout: Buffer.from(stdout), stderr: Buffer.from(stderr) }
    },
    async [Symbol.asyncDispose]() {},
  }
}

/** What the stand-in was called for, without the numbers of processes. */
export function takeLog(root: Chroot): readonly string[] {
  const file = join(root.path, 'opt/tried/log')
  if (!existsSync(file)) return []
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n')
  rmSync(file)
  return lines.map((line) => line.replace(/^(begin|end|live|dpkg-begin|dpkg-end) \d+$/, '$1'))
}

/** Path, type, rights, owner and content of all that is there; no times. */
export function wholeTree(root: Chroot): string {
  return execFileSync('sh', ['-c', treeScript, 'sh', root.path], {
    encoding: 'latin1',
    maxBuffer: 64 * 1024 * 1024,
  })
}

const treeScript = `
cd "$1" || exit
own() { find . -xdev '(' -path ./proc -o -path ./dev -o -path ./sys -o -path ./run -o -path ./tmp ')' -prune -o "$@"; }
{ own -printf '%P %y %m %U %G %l %n\\n'
own -type f -print0 | xargs -0 sha256sum | sed 's,^\\([^ ]*\\) [ *]\\./\\(.*\\)$,\\2 \\1,'; } | LC_ALL=C sort`

/** The lines of two trees that are in one of them only, with their sign. */
export function treeDifference(before: string, after: string): readonly string[] {
  const [one, other] = [new Set(before.split('\n')), new Set(after.split('\n'))]
  return [
    ...[...one].filter((line) => !other.has(line)).map((line) => `-${line}`),
    ...[...other].filter((line) => !one.has(line)).map((line) => `+${line}`),
  ]
}
