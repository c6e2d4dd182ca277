// A root, and a stage of it with every kind of change, made by a real overlay; and whole trees as text, to compare them.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import {
  asRaw,
  printable,
  rawFromBytes,
  rawFromString,
  type RawText,
  rawToBytes,
} from '../src/base/raw-text.ts'
import { type RawPath, rootPath } from '../src/model/raw-path.ts'
import type { Fingerprint, PathChange } from '../src/model/transaction.ts'
import type { NodeType } from '../src/model/tree.ts'
import { type Libc, openLibc } from '../src/wire/libc.ts'

/** Names that a shell, a terminal or UTF-8 would read as something else. */
const oddNames = `odd() { "$1" '-rf'; "$1" "a'b\\"c"; "$1" 'sp ace '; "$1" '$(touch x)\`'; "$1" '*?[a]'; "$1" 'back\\slash'; "$1" "$(printf 'new\\nline')"; "$1" "$(printf 'latin\\351\\377')"; "$1" '~'; "$1" '!#&;|<>'; }`

export const beforeScript = `set -e; umask 022
${oddNames}
for d in a b c d e; do mkdir -p $d/x/y; for i in 1 2 3 4; do echo $d$i >$d/f$i; echo $d$i >$d/x/y/g$i; done; ln -s f1 $d/ln; done
ln a/f1 a/hard; ln b/f1 c/across; ln b/f2 b/hard2; ln b/f2 e/hard2
mkfifo a/fifo; mknod d/null c 1 3; mknod d/block b 7 99; mknod b/goes c 1 7
echo cap >e/cap; setcap cap_net_raw+ep e/cap; cp -a e/cap e/capgoes; setfacl -m u:1234:r e/f1; setfattr -n user.one -v 1 e/f2; setfattr -n trusted.two -v 2 e/f3
mkdir -p gone/deep/er; echo g >gone/deep/g; ln gone/deep/g gone/deep/er/g; ln gone/deep/g a/ofgone; ln -s nowhere gone/link; mkfifo gone/deep/fifo; setfattr -n user.g -v g gone/deep
mkdir odd 'odd/-d'; make() { echo "$1" >"odd/$1"; }; odd make; echo x >'odd/-d/x'
mkdir -p meta/in; echo m >meta/in/m; setfattr -n user.old -v old meta; setfattr -n user.both -v 1 meta; setfacl -m u:7:rwx,d:u:8:rx meta; mkdir meta/acl; setfacl -m u:9:rwx meta/acl
mkdir opaque; echo 1 >opaque/f1; echo 2 >opaque/f2; mkdir opaque/sub; echo 3 >opaque/sub/f
ln -s c toc; ln -s d tod; ln -s d/f1 tofile; ln -s a toa; mkdir empty times; echo t >times/t
head -c 70000 /dev/zero >e/zeros; printf '#!/bin/sh\\n' >e/setuid; chmod 4755 e/setuid
mkdir -p sub/in srv/in; for i in 1 2 3; do echo s$i >sub/f$i; echo v$i >srv/f$i; echo s$i >sub/in/f$i; done; ln sub/f1 sub/hard; mkdir sub/gone srv/gone; echo x >sub/gone/x; echo x >srv/gone/x
mkdir rights; cd rights; for i in owner acl cap caps suid twin; do echo $i >$i; done; ln twin twin2; ln -s owner link; mkfifo fifo; mknod null c 1 3; mknod block b 7 98
setcap cap_net_raw+ep cap; setcap cap_net_raw+ep caps; chmod 4755 suid; setfacl -m u:77:rwx acl; setfattr -n user.old -v o owner; perl -MSocket -e 'socket(S,AF_UNIX,SOCK_STREAM,0); bind(S,sockaddr_un("sock")) or die $!'; cd ..
touch -d 2001-02-03T04:05:06.123456789Z a b c d e times opaque odd . sub srv`

export const afterScript = `set -e; umask 022
${oddNames}
echo new >>a/f1; rm a/f2; rm -r b/x; ln -s ../c b/x; rm -r c/x; mkdir c/x; echo only >c/x/only
rm d/f1; mkdir -p d/f1/z; echo z >d/f1/z/z; mv d/x d/xx; rm -r e/x; echo file >e/x; chmod 1700 e; chown 12:13 e
rm e/ln; ln -s f2 e/ln; rm a/fifo; mkfifo -m 600 a/fifo; rm d/null; mknod d/null c 1 5; rm d/block; ln -s null d/block; rm b/goes
rm a/ln; ln -s /absolute a/ln; rm b/ln; echo nolink >b/ln; ln -sfn d toc; rm tod; mkdir tod; echo t >tod/t; ln -sfn d/f2 tofile; rm toa; echo x >toa
for i in 1 2 3 4; do [ $i = 3 ] || echo m$i >e/f$i; done; setfacl -m u:4321:rw e/f3; echo more >>e/cap; setcap cap_net_admin+ep e/cap; rm e/capgoes; mv c/f1 c/f2; ln c/f3 c/f3link
mkdir -p n/e/w n/two; echo k >n/e/w/k; echo h >n/h1; ln n/h1 n/e/h2; ln n/h1 a/newhard; ln -s e n/link; mkfifo n/fifo; mknod n/node c 1 9; cp /bin/true n/true; setcap cap_chown+ep n/true; setfacl -m d:u:5:rwx n/two; setfattr -n user.n -v n n/e/w/k; chmod 4711 n/true
rm -r gone; rm -r opaque; mkdir opaque; echo other >opaque/f1; mkdir opaque/sub; echo 4 >opaque/sub/new
change() { echo changed >>"odd/$1"; }; odd change; add() { mkdir "odd/N$1"; echo "$1" >"odd/N$1/$1"; ln -s "$1" "odd/L$1"; }; odd add; rm -r 'odd/-d' 'odd/*?[a]' 'odd/~'; mv 'odd/-rf' 'odd/--'
chmod 750 meta; setfattr -x user.old meta; setfattr -n user.both -v 2 meta; setfattr -n user.new -v n meta; setfacl -m u:7:r-x,d:u:8:rwx meta; setfacl -b meta/acl; rmdir empty; echo again >times/t; rm times/t; echo u >times/u
truncate -s 3000000 e/zeros; echo end >>e/zeros; chmod 755 e/setuid; chown 3:4 e/setuid; setfattr -n trusted.three -v 3 d
echo S1 >>sub/f1; rm sub/f2; mkdir -p sub/new/er; echo n >sub/new/er/n; ln sub/new/er/n sub/newhard; rm -r sub/gone; chmod 700 sub/in; setcap cap_chown+ep sub/f3
cd rights; chown 5:6 owner cap caps suid fifo null twin sock; chown -h 7:8 link; chmod 6711 suid; setcap cap_net_raw+ep cap; setfacl -m u:78:r acl; chmod 600 block fifo; setfattr -x user.old owner; setfattr -n user.new -v n owner; cd ..
echo V1 >>srv/f1; rm srv/f2; mkdir -p srv/new/er; echo n >srv/new/er/n; rm -r srv/gone; ln -s f1 srv/link; rm -r srv/in; echo file >srv/in`

export function testLibc(): Libc {
  const libc = openLibc(tmpdir())
  assert.ok(libc, 'node:ffi')
  return libc
}

export interface TreePath {
  readonly state: Fingerprint
  /** All names of one file in the tree, or none when it has one. */
  readonly names: string
}

/** Every path of a tree but those of VML's own folders. */
export function readTree(libc: Libc, root: string): Map<RawPath, TreePath> {
  const found = new Map<RawPath, Fingerprint>()
  const names = new Map<string, RawPath[]>()
  const walk = (path: RawPath) => {
    const place = path === rootPath ? rawFromString(root) : asRaw(`${rawFromString(root)}${path}`)
    const state = fingerprint(libc, place)
    found.set(path, state)
    const key = `${state.deviceId}:${state.inode}`
    if (state.type !== 'dir') names.set(key, [...(names.get(key) ?? []), path])
    if (state.type !== 'dir') return
    for (const name of readdirSync(rawToBytes(place), { encoding: 'buffer' }).map((each) =>
      rawFromBytes(each),
    ))
      if (name !== '.vml-stage') walk((path === rootPath ? `/${name}` : `${path}/${name}`) as RawPath)
  }
  walk(rootPath)
  const sorted = [...found].sort(([one], [other]) => (one < other ? -1 : 1))
  return new Map(
    sorted.map(([path, state]) => {
      const all = names.get(`${state.deviceId}:${state.inode}`) ?? []
      return [path, { state, names: all.length > 1 ? all.toSorted().join('\n') : '' }]
    }),
  )
}

/** One line for each path, with everything that must be the same. */
export function describeTree(
  tree: ReadonlyMap<RawPath, TreePath>,
  folderTimes: 'exact' | 'in seconds' = 'exact',
): string[] {
  return [...tree].map(([path, { state, names }]) => {
    const { type, mode, uid, gid, size, sha256, linkTarget, device, mtimeNs, xattrs = [] } = state
    const attributes = xattrs.map(({ name, value }) => `${name}=${Buffer.from(value).toString('hex')}`).sort()
    return [
      printable(path),
      ...[type, mode.toString(8), uid, gid, size ?? '', sha256?.slice(0, 16) ?? '', device ?? ''],
      ...[
        printable(asRaw(linkTarget ?? '')),
        type === 'symlink'
          ? ''
          : type === 'dir' && folderTimes === 'in seconds'
            ? mtimeNs / 1_000_000_000n
            : mtimeNs,
        attributes.join(','),
        printable(asRaw(names)),
      ],
    ].join(' | ')
  })
}

/** What differs between two trees, as a transaction says it. */
export function changesBetween(
  before: ReadonlyMap<RawPath, TreePath>,
  after: ReadonlyMap<RawPath, TreePath>,
): PathChange[] {
  const paths = [...new Set([...before.keys(), ...after.keys()])].sort()
  return paths.flatMap((path) => {
    const [was, is] = [before.get(path), after.get(path)]
    const same = was && is && line(path, was) === line(path, is)
    if (same) return []
    return [{ path, ...(was ? { before: was.state } : {}), ...(is ? { after: is.state } : {}) }]
  })
}

/** The time of a folder alone is no change of it. */
function line(path: RawPath, { state, names }: TreePath): string {
  const known = state.type === 'dir' ? { ...state, mtimeNs: 0n } : state
  return describeTree(new Map([[path, { state: known, names }]])).join('')
}

const types: ReadonlyMap<number, NodeType> = new Map([
  [0o100000, 'file'],
  [0o040000, 'dir'],
  [0o120000, 'symlink'],
  [0o010000, 'fifo'],
  [0o140000, 'socket'],
  [0o060000, 'dev'],
  [0o020000, 'chardev'],
])

function fingerprint(libc: Libc, place: RawText): Fingerprint {
  const bytes = rawToBytes(place)
  const status = lstatSync(bytes, { bigint: true })
  const mode = Number(status.mode)
  const type = types.get(mode & 0o170000) ?? 'irregular'
  return {
    type,
    mode: mode & 0o7777,
    uid: Number(status.uid),
    gid: Number(status.gid),
    mtimeNs: status.mtimeNs,
    ctimeNs: status.ctimeNs,
    inode: status.ino,
    deviceId: status.dev,
    links: Number(status.nlink),
    ...(type === 'file'
      ? { size: Number(status.size), sha256: createHash('sha256').update(readFileSync(bytes)).digest('hex') }
      : {}),
    ...(type === 'symlink' ? { linkTarget: rawFromBytes(readlinkSync(bytes, { encoding: 'buffer' })) } : {}),
    ...(type === 'dev' || type === 'chardev' ? { device: status.rdev } : {}),
    xattrs: libc.readXattrs(place).filter(({ name }) => !name.startsWith('trusted.overlay.')),
  }
}

export function sh(script: string, cwd: string, ...words: readonly string[]): void {
  execFileSync('/bin/sh', ['-c', script, 'sh', ...words], { cwd, stdio: ['ignore', 'pipe', 'pipe'] })
}
