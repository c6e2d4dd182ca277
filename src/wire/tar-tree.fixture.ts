// A tree of everything that Unix can hold, for tests of tar, and an independent look at such a tree by find and getfattr.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  closeSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'

export interface Described {
  type: string
  mode: number
  uid: number
  gid: number
  mtimeNs: bigint
  linkTarget: string | undefined
  device: bigint | undefined
  size: number | undefined
  sha256: string | undefined
  hasHoles: boolean
  xattrs: Record<string, string>
}

/** `simple` leaves out what busybox tar cannot carry. Needs root. */
export function plantTree(root: string, { simple = false } = {}): void {
  const at = (name: string) => Buffer.from(`${root}/${name}`, 'latin1')
  const file = (name: string, content: string | Buffer = name) => writeFileSync(at(name), content)
  mkdirSync(root)
  file('data', Buffer.from(Array.from({ length: 300_000 }, (_, index) => (index * 7919) >> 5)))
  file('empty', '')
  file('caf\xe9 \xff\xfe')
  file('new\nline "quote" \'single\' \\back\\slash')
  file('-leading')
  file('@at')
  file('a=b%3D%')
  file('n'.repeat(255))
  file('x'.repeat(100))
  file('\x01\x02\x1b[31m')
  linkSync(at('data'), at('hard'))
  linkSync(at('empty'), at('hard-' + 'h'.repeat(200)))
  symlinkSync(Buffer.from('t\xe9'.repeat(400), 'latin1'), at('symlink'))
  symlinkSync('/nowhere', at('@link'))
  execFileSync('mkfifo', [join(root, 'fifo')])
  execFileSync('mknod', [join(root, 'null'), 'c', '1', '300'])
  execFileSync('mknod', [join(root, 'block'), 'b', '259', '7'])
  mkdirSync(at('folder'))
  file('folder/inner')
  deepFolder(root, simple ? 20 : 45)
  file('setuid')
  execFileSync('chmod', ['6755', join(root, 'setuid')])
  execFileSync('chmod', ['1777', join(root, 'folder')])
  file('owned')
  execFileSync('chown', [simple ? '1234:4321' : '4294967294:4000000000', join(root, 'owned')])
  execFileSync('chmod', ['4711', join(root, 'owned')])
  sparseFile(join(root, 'sparse'))
  if (!simple) {
    truncateSync(openEmpty(join(root, 'all-hole')), 5_000_000)
    file('old')
    execFileSync('touch', ['-d', '1965-01-02 03:04:05.123456789 UTC', join(root, 'old')])
  }
  file('timed')
  execFileSync('touch', ['-d', '2001-02-03 04:05:06.000000007 UTC', join(root, 'timed')])
  file('attributes')
  file('acl')
  execFileSync('setfattr', ['-n', 'user.plain', '-v', 'value', join(root, 'attributes')])
  execFileSync('setfattr', ['-n', 'user.empty', join(root, 'attributes')])
  execFileSync('setfattr', ['-n', 'user.a=b%3D%', '-v', '0x000aff3d', join(root, 'attributes')])
  execFileSync('setfattr', ['-n', 'trusted.x', '-v', '0x01', join(root, 'attributes')])
  execFileSync('setfacl', ['-m', 'u:60001:rwx,u:2000000000:r--,g:7777:-w-,m::rw-', join(root, 'acl')])
  execFileSync('setfacl', ['-d', '-m', 'u:60001:r-x,g:7777:rwx', join(root, 'folder')])
}

function openEmpty(path: string): string {
  writeFileSync(path, '')
  return path
}

/** A path of some 4 KiB: longer than most programs take, within what the system takes. */
function deepFolder(root: string, depth: number): void {
  let path = root
  for (let level = 0; level < depth && path.length < 3950; level++) {
    path = join(path, `${level}`.padEnd(simpleName, 'd'))
    mkdirSync(path)
  }
  writeFileSync(join(path, 'deepest'), 'deep')
}
const simpleName = 90

/** 100 MB with few pieces of data. */
function sparseFile(path: string): void {
  const descriptor = openSync(path, 'w')
  for (const offset of [65_536, 10_000_000, 10_000_500, 33_333_333, 77_777_777])
    writeSync(descriptor, Buffer.alloc(5000, `${offset} `), 0, 5000, offset)
  closeSync(descriptor)
  truncateSync(path, 100_000_000)
}

/** The tree as find, stat and getfattr tell it, by `./name` (`.` is the root). */
export function describeTree(root: string): Map<string, Described> {
  const format = ['%p', '%y', '%m', '%U', '%G', '%T@', '%l', '%s', '%b', '%i', ''].join('\\0')
  const fields = execFileSync('find', ['.', '-printf', format], { cwd: root, maxBuffer: 1 << 26 })
    .toString('latin1')
    .split('\0')
  const attributes = xattrsOf(root)
  const found = new Map<string, Described>()
  for (let index = 0; index + 10 <= fields.length; index += 10) {
    const [name = '', kind = '', mode = '', uid, gid, time = '', link, size, blocks] = fields.slice(
      index,
      index + 10,
    )
    const isFile = kind === 'f'
    const content = isFile ? readFileSync(Buffer.from(`${root}/${name}`, 'latin1')) : undefined
    found.set(name, {
      type: kinds[kind] ?? kind,
      mode: Number.parseInt(mode, 8),
      uid: Number(uid),
      gid: Number(gid),
      mtimeNs: nanoseconds(time),
      linkTarget: kind === 'l' ? link : undefined,
      device: kind === 'c' || kind === 'b' ? deviceOf(root, name) : undefined,
      size: isFile ? Number(size) : undefined,
      sha256: content && createHash('sha256').update(content).digest('hex'),
      hasHoles: isFile && Number(blocks) * 512 < Number(size),
      xattrs: attributes.get(name) ?? {},
    })
  }
  return found
}

const kinds: Record<string, string> = { f: 'file', d: 'dir', l: 'symlink', p: 'fifo', c: 'chardev', b: 'dev' }

/** find prints the floor of the seconds, then a fraction that counts upwards, with ten digits. */
function nanoseconds(text: string): bigint {
  const [whole = '', fraction = ''] = text.split('.')
  const ns = BigInt(fraction.slice(0, 9))
  return BigInt(whole) * 1_000_000_000n + ns
}

function deviceOf(root: string, name: string): bigint {
  return BigInt(execFileSync('stat', ['-c', '%r', name], { cwd: root }).toString().trim())
}

function xattrsOf(root: string): Map<string, Record<string, string>> {
  const text = execFileSync('getfattr', ['-R', '-P', '-h', '-d', '-m-', '-e', 'hex', '.'], {
    cwd: root,
    maxBuffer: 1 << 26,
  })
  const found = new Map<string, Record<string, string>>()
  for (const part of text.toString('latin1').split('\n\n')) {
    const [head = '', ...lines] = part.split('\n')
    if (!head.startsWith('# file: ')) continue
    const entries = lines
      .filter((line) => line !== '')
      .map((line): [string, string] => {
        const equals = /^((?:[^=\\]|\\...)*)=?(?:0x)?(.*)$/.exec(line)
        return [unescape(equals?.[1] ?? ''), equals?.[2] ?? '']
      })
    const name = unescape(head.slice(8))
    found.set(name === '.' ? '.' : name.startsWith('./') ? name : `./${name}`, Object.fromEntries(entries))
  }
  return found
}

/** getfattr writes odd bytes of names in octal. */
function unescape(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
}
