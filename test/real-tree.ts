// A folder with everything that Linux lets a tree have, and what can be told of a folder: each by other means than VML's own.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  lchownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
  writeSync,
  ftruncateSync,
} from 'node:fs'
import { asRaw, rawFromBytes, type RawText } from '../src/base/raw-text.ts'
import { isRawName, type RawName } from '../src/model/raw-path.ts'
import type { Attributes, NodeType, Xattr } from '../src/model/tree.ts'
import { noise } from './store-fixture.ts'

export interface RealNode extends Attributes {
  readonly name: RawName
  /** Relative to the folder, as bytes, one character each. */
  readonly path: string
  readonly children?: readonly RealNode[]
}

/** Needs root: owners, devices and trusted attributes are part of it. */
export function makeRealTree(folder: string): void {
  const at = (name: string) => Buffer.from(`${folder}/${name}`, 'latin1')
  const file = (name: string, content: Uint8Array | string) => writeFileSync(at(name), content)
  const sh = (script: string) =>
    execFileSync('sh', ['-euc', script], { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] })
  file('empty', '')
  file('plain', 'plain\n')
  for (const name of [
    '-rf',
    '@file',
    'new\nline',
    'tab\tand "quote" \\ back',
    "it's",
    'nul-less\x01\x7f',
    '\xff\xfe not utf-8',
    '\xe2\x82',
    'caf\xc3\xa9',
    'cafe\xcc\x81',
    ' ',
    '*',
    '\xe2\x80\xae bidi',
    '\xf0\x9f\x98\x80',
  ]) {
    file(name, `content of ${name}`)
  }
  file('n'.repeat(255), 'longest name')
  mkdirSync(at('empty folder'))
  mkdirSync(at(Array(60).fill('deep').join('/')), { recursive: true })
  file(`${Array(60).fill('deep').join('/')}/file`, 'deep')
  mkdirSync(at('links'))
  linkSync(at('plain'), at('links/hard'))
  linkSync(at('plain'), at('hard too'))
  symlinkSync('plain', at('links/soft'))
  symlinkSync(Buffer.from('nowhere/\xff\xfe', 'latin1'), at('links/not utf-8'))
  symlinkSync('../..//./'.repeat(300), at('links/long'))
  file('big', noise(9_000_000, 'big'))
  file('zeros', Buffer.concat([noise(600_000, 'head'), Buffer.alloc(12_000_000), noise(600_000, 'tail')]))
  const sparse = openSync(at('sparse'), 'w')
  writeSync(sparse, Buffer.from('at the front'), 0, 12, 0)
  writeSync(sparse, noise(100_000, 'inside'), 0, 100_000, 30_000_000)
  ftruncateSync(sparse, 50_000_000)
  closeSync(sparse)
  sh(`mkfifo fifo; mknod null c 1 3; mknod disk b 7 200; mkdir modes
    for mode in 0000 0444 0777 4755 2755 6711 1777; do echo $mode > modes/$mode; chmod $mode modes/$mode; done
    mkdir modes/sticky modes/setgid; chmod 1777 modes/sticky; chmod 2775 modes/setgid
    echo x > xattrs; setfattr -n user.plain -v value xattrs; setfattr -n user.binary -v 0x00ff000a xattrs
    setfattr -n user.empty xattrs; setfattr -n trusted.kept -v yes xattrs; setfattr -n user.on-folder -v 1 'empty folder'
    setfattr -h -n trusted.on-link -v 1 links/soft
    echo x > acl; setfacl -m u:1234:rw,g:4321:r acl; mkdir 'acl folder'; setfacl -d -m u:1234:rwx 'acl folder'`)
  lchownSync(at('plain'), 4294967294, 4294967294)
  lchownSync(at('links/soft'), 12345, 54321)
  lchownSync(at('modes/4755'), 1, 2)
  chmodSync(at('modes/4755'), 0o4755)
  file('old', 'before the epoch')
  lutimesSync(at('old'), -86_400.5, -1_000_000.25)
  file('far', 'in the future')
  lutimesSync(at('far'), 4_000_000_000, 4_000_000_000.123)
  lutimesSync(at('links/soft'), 1_000_000_000, 1_000_000_000.5)
}

/** What is there, read with lstat, readlink and getfattr; children in the order of their bytes. */
export function describeTree(folder: string): readonly RealNode[] {
  const xattrs = readXattrs(folder)
  const users = new Names('passwd')
  const groups = new Names('group')
  const describe = (path: string): RealNode[] =>
    readdirSync(Buffer.from(`${folder}/${path}`, 'latin1'), { encoding: 'buffer' })
      .map((bytes) => rawFromBytes(bytes))
      .sort()
      .map((name) => {
        if (!isRawName(name)) throw new Error('Not a name')
        const inner = path === '' ? name : `${path}/${name}`
        const full = Buffer.from(`${folder}/${inner}`, 'latin1')
        const facts = lstatSync(full, { bigint: true })
        const type = typeOf(facts)
        const user = users.get(Number(facts.uid))
        const group = groups.get(Number(facts.gid))
        const found = xattrs.get(inner)
        return {
          name,
          path: inner,
          type,
          mode: Number(facts.mode & 0o7777n),
          uid: Number(facts.uid),
          gid: Number(facts.gid),
          ...(user === undefined ? {} : { user }),
          ...(group === undefined ? {} : { group }),
          mtimeNs: facts.mtimeNs,
          ctimeNs: facts.ctimeNs,
          inode: facts.ino,
          deviceId: facts.dev,
          // restic counts no links of the others.
          ...(['dir', 'fifo', 'socket'].includes(type) ? {} : { links: Number(facts.nlink) }),
          ...(type === 'file' ? { size: Number(facts.size) } : {}),
          ...(type === 'symlink'
            ? { linkTarget: rawFromBytes(readlinkSync(full, { encoding: 'buffer' })) }
            : {}),
          ...(type === 'dev' || type === 'chardev' ? { device: facts.rdev } : {}),
          ...(found === undefined ? {} : { xattrs: found }),
          ...(type === 'dir' ? { children: describe(inner) } : {}),
        }
      })
  return describe('')
}

/** One line a path with all that a restore must bring back; content by its hash, hard links by the names that share a file. */
export function summarizeTree(folder: string): Map<string, string> {
  const lines = new Map<string, string>()
  const shared = new Map<string, string[]>()
  const visit = (nodes: readonly RealNode[]): void => {
    for (const node of nodes) {
      if (node.children === undefined) {
        const key = `${node.deviceId}:${node.inode}`
        shared.set(key, [...(shared.get(key) ?? []), node.path])
      } else {
        visit(node.children)
      }
    }
  }
  const tree = describeTree(folder)
  visit(tree)
  const note = (nodes: readonly RealNode[]): void => {
    for (const node of nodes) {
      const facts = {
        type: node.type,
        mode: node.mode.toString(8),
        owner: `${node.uid}:${node.gid}`,
        mtime: String(node.mtimeNs),
        size: node.size,
        target: node.linkTarget,
        device: node.device === undefined ? undefined : String(node.device),
        xattrs: node.xattrs?.map(({ name, value }) => `${name}=${Buffer.from(value).toString('hex')}`),
        content:
          node.type === 'file' ? digestFile(Buffer.from(`${folder}/${node.path}`, 'latin1')) : undefined,
        same: node.children ? undefined : shared.get(`${node.deviceId}:${node.inode}`),
      }
      lines.set(node.path, JSON.stringify(facts))
      if (node.children) note(node.children)
    }
  }
  note(tree)
  return lines
}

function typeOf(facts: ReturnType<typeof lstatSync> & object): NodeType {
  if (facts.isFile()) return 'file'
  if (facts.isDirectory()) return 'dir'
  if (facts.isSymbolicLink()) return 'symlink'
  if (facts.isFIFO()) return 'fifo'
  if (facts.isBlockDevice()) return 'dev'
  if (facts.isCharacterDevice()) return 'chardev'
  return facts.isSocket() ? 'socket' : 'irregular'
}

function digestFile(path: Buffer): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex')
}

/** By path; getfattr writes backslashes, newlines and the like in names as octal. */
function readXattrs(folder: string): Map<string, readonly Xattr[]> {
  const output = execFileSync('getfattr', ['-R', '-P', '-h', '-d', '-m', '-', '-e', 'hex', '.'], {
    cwd: folder,
    maxBuffer: 2 ** 28,
  })
  const found = new Map<string, readonly Xattr[]>()
  for (const section of output.toString('latin1').split('\n\n')) {
    const [head = '', ...lines] = section.split('\n')
    const path = unescapeOctal(head.replace(/^# file: /, '')).replace(/^\.\//, '')
    const list = lines
      .filter((line) => line !== '')
      .map((line) => {
        const equals = line.indexOf('=')
        const name = asRaw(equals < 0 ? line : line.slice(0, equals))
        return { name, value: Buffer.from(equals < 0 ? '' : line.slice(equals + 3), 'hex') }
      })
    if (list.length > 0)
      found.set(
        path,
        list.sort((left, right) => (left.name < right.name ? -1 : 1)),
      )
  }
  return found
}

function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))
}

/** Names of users or groups by number, as the system tells them. */
class Names {
  readonly #known = new Map<number, RawText | undefined>()
  readonly #database: 'passwd' | 'group'

  constructor(database: 'passwd' | 'group') {
    this.#database = database
  }

  get(id: number): RawText | undefined {
    if (!this.#known.has(id)) this.#known.set(id, this.#look(id))
    return this.#known.get(id)
  }

  #look(id: number): RawText | undefined {
    try {
      const line = execFileSync('getent', [this.#database, String(id)], {
        stdio: ['ignore', 'pipe', 'ignore'],
      })
      return asRaw(line.toString('latin1').split(':')[0] ?? '')
    } catch {
      return undefined
    }
  }
}
