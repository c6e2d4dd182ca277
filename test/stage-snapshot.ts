// What a whole tree is, told by Python and not by us: the oracle of the change set, run outside of a stage and in it.
import type { Fingerprint } from '../src/model/transaction.ts'
import type { PathChange } from '../src/model/transaction.ts'

export interface SnapshotRow {
  /** Attributes and content; of what times do not count, without them. */
  readonly state: string
  /** Device and number of the file. */
  readonly file: string
  readonly isFolder: boolean
}

/** By path, one character per byte. */
export type Snapshot = ReadonlyMap<string, SnapshotRow>

/** Words: the root, paths to begin at, `--`, paths that are left out with all below. */
export const snapshotProgram = `
import os, sys, stat, hashlib
root = os.fsencode(sys.argv[1]).rstrip(b'/')
words = [os.fsencode(path) for path in sys.argv[2:]]
tops, closed = words[:words.index(b'--')], set(words[words.index(b'--') + 1:])
kinds = {stat.S_IFREG: 'file', stat.S_IFDIR: 'dir', stat.S_IFLNK: 'symlink', stat.S_IFIFO: 'fifo', stat.S_IFSOCK: 'socket', stat.S_IFCHR: 'chardev', stat.S_IFBLK: 'dev'}
out = []
def look(path):
    place = root + path if path != b'/' else (root or b'/')
    s = os.lstat(place)
    kind = kinds[stat.S_IFMT(s.st_mode)]
    if kind == 'chardev' and s.st_rdev == 0 and root: return None
    said = [kind, oct(stat.S_IMODE(s.st_mode)) if kind != 'symlink' else '', str(s.st_uid), str(s.st_gid)]
    if kind == 'file':
        with open(place, 'rb') as f: said += [str(s.st_size), str(s.st_mtime_ns), hashlib.sha256(f.read()).hexdigest()]
    if kind == 'symlink': said.append(os.readlink(place).hex())
    if kind in ('chardev', 'dev'): said.append(str(s.st_rdev))
    for name in sorted(os.listxattr(place, follow_symlinks=False)):
        if not name.startswith('trusted.overlay.'):
            said.append(name + '=' + os.getxattr(place, name, follow_symlinks=False).hex())
    out.append((path.hex(), '|'.join(said), '%d:%d' % (s.st_dev, s.st_ino), kind))
    return kind
def walk(path):
    if path in closed: return
    if look(path) != 'dir': return
    for name in os.listdir(root + path if path != b'/' else (root or b'/')):
        walk((b'' if path == b'/' else path) + b'/' + name)
for top in tops: walk(top)
for row in out: print('\\t'.join(row))
`

export function parseSnapshot(text: string): Snapshot {
  return new Map(
    text
      .split('\n')
      .filter((line) => line !== '')
      .map((line): [string, SnapshotRow] => {
        const [path = '', state = '', file = '', kind] = line.split('\t')
        return [Buffer.from(path, 'hex').toString('latin1'), { state, file, isFolder: kind === 'dir' }]
      }),
  )
}

/** In the words of the oracle. */
export function stateOf(print: Fingerprint): string {
  const { type, mode, uid, gid, size, mtimeNs, sha256, linkTarget, device, xattrs = [] } = print
  const said = [type, type === 'symlink' ? '' : `0o${mode.toString(8)}`, String(uid), String(gid)]
  if (type === 'file') said.push(String(size), String(mtimeNs), sha256 ?? '')
  if (type === 'symlink') said.push(Buffer.from(linkTarget ?? '', 'latin1').toString('hex'))
  if (device !== undefined) said.push(String(device))
  const attributes = xattrs.map(({ name, value }) => `${name}=${Buffer.from(value).toString('hex')}`)
  return [...said, ...attributes.sort()].join('|')
}

/** What a change set says and the snapshots do not, and the other way round; a line for each. */
export function differences(changes: readonly PathChange[], before: Snapshot, after: Snapshot): string[] {
  const expected = new Map<string, string>()
  for (const path of new Set([...before.keys(), ...after.keys()])) {
    const [old, now] = [before.get(path)?.state, after.get(path)?.state]
    if (old !== now) expected.set(path, `${old} -> ${now}`)
  }
  const lines: string[] = []
  for (const { path, before: old, after: now } of changes) {
    const told = `${old && stateOf(old)} -> ${now && stateOf(now)}`
    const truth = expected.get(path)
    if (truth !== told) lines.push(`${JSON.stringify(path)}: told ${told}, is ${truth}`)
    expected.delete(path)
  }
  for (const [path, truth] of expected) lines.push(`${JSON.stringify(path)}: not told, is ${truth}`)
  return lines
}

/** Names of one file, sorted, where there are several. */
export function linkGroups(snapshot: Snapshot): string[] {
  const groups = new Map<string, string[]>()
  for (const [path, { file, isFolder }] of snapshot) {
    if (!isFolder) groups.set(file, [...(groups.get(file) ?? []), path])
  }
  return [...groups.values()]
    .filter(({ length }) => length > 1)
    .map((names) => JSON.stringify(names.toSorted()))
    .toSorted()
}
