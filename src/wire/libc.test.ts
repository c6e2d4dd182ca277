// The C library through node:ffi, against what other programs see.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  constants,
  closeSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { asRaw, rawFromBytes, rawFromString, rawToBytes, type RawText } from '../base/raw-text.ts'
import { here, type Libc, openLibc } from './libc.ts'

function open(): Libc {
  const libc = openLibc(tmpdir())
  assert.ok(libc)
  return libc
}

class Folder {
  readonly path = mkdtempSync(join(tmpdir(), 'vml-libc-test-'))
  raw(name: string): RawText {
    return rawFromString(join(this.path, name))
  }
  sh(script: string): string {
    const { stdout, stderr, status } = spawnSync('sh', ['-c', script], { cwd: this.path, encoding: 'latin1' })
    assert.equal(status, 0, stderr)
    return stdout
  }
  [Symbol.dispose]() {
    rmSync(this.path, { recursive: true, force: true })
  }
}

function codeOf(call: () => unknown): string {
  try {
    call()
  } catch (error) {
    if (error instanceof Error && 'code' in error) return String(error.code)
    throw error
  }
  return 'none'
}

test('attributes that setfattr gave are read, and getfattr reads those that were set, binary and on links too', () => {
  using folder = new Folder()
  const libc = open()
  folder.sh(
    'echo x > file; ln -s nowhere link; setfattr -n user.one -v 0x00ff41 file; setfattr -h -n trusted.two -v "" link',
  )
  assert.deepEqual(libc.readXattrs(folder.raw('file')), [
    { name: 'user.one', value: Buffer.from([0, 0xff, 0x41]) },
  ])
  assert.deepEqual(libc.readXattrs(folder.raw('link')), [{ name: 'trusted.two', value: Buffer.alloc(0) }])
  libc.setXattr(folder.raw('file'), rawFromString('user.größe'), Buffer.from([1, 0, 2]))
  const file = openSync(join(folder.path, 'file'), 'r+')
  try {
    libc.setXattr(file, asRaw('user.empty'), Buffer.alloc(0))
    libc.removeXattr(file, asRaw('user.one'))
    libc.removeXattr(file, asRaw('user.one'))
    assert.deepEqual(libc.getXattr(file, asRaw('user.empty')), Buffer.alloc(0))
    assert.equal(libc.getXattr(file, asRaw('user.one')), undefined)
    assert.deepEqual(libc.listXattrs(file).length, 2)
  } finally {
    closeSync(file)
  }
  const shown = folder.sh('getfattr -d -e hex -m - file')
  assert.match(shown, /0x010002/)
  assert.match(shown, /user\.empty/)
  assert.doesNotMatch(shown, /user\.one/)
})

test('data and holes are where cp --sparse left them', () => {
  using folder = new Folder()
  const libc = open()
  const block = 64 * 1024
  folder.sh(`head -c ${block} /dev/zero | tr '\\0' a > full
    (cat full; head -c ${4 * block} /dev/zero; cat full; head -c ${block} /dev/zero) > plain; cp --sparse=always plain sparse`)
  const file = openSync(join(folder.path, 'sparse'), 'r')
  try {
    assert.equal(libc.nextData(file, 0), 0)
    assert.equal(libc.nextHole(file, 0), block)
    assert.equal(libc.nextData(file, block), 5 * block)
    assert.equal(libc.nextHole(file, 5 * block), 6 * block)
    assert.equal(libc.nextData(file, 6 * block), undefined)
  } finally {
    closeSync(file)
  }
})

test('times, owners, links, devices and names that are no text are as stat and ls say', () => {
  using folder = new Folder()
  const libc = open()
  const handle = libc.openAt(here, folder.raw(''), constants.O_DIRECTORY)
  try {
    const name = rawFromBytes(Buffer.from([0xff, 0x0a, 0x20, 0x80]))
    libc.makeFolderAt(handle, name, 0o750)
    libc.setTimesAt(handle, name, { atimeNs: 1_000_000_001n, mtimeNs: -1n })
    libc.makeLinkAt(handle, asRaw('link'), name)
    libc.chownAt(handle, asRaw('link'), { uid: 4_000_000_000, gid: 7 })
    libc.makeNodeAt(handle, asRaw('null'), { mode: constants.S_IFCHR | 0o600, device: 0x103n })
    libc.makeNodeAt(handle, asRaw('pipe'), { mode: constants.S_IFIFO | 0o600, device: 0n })
    writeFileSync(join(folder.path, 'file'), 'x')
    libc.linkAt({ folder: handle, name: asRaw('file') }, { folder: handle, name: asRaw('second') })
    libc.renameAt({ folder: handle, name: asRaw('second') }, { folder: handle, name: asRaw('third') })
    const made = lstatSync(
      rawToBytes(folder.raw('')) && Buffer.concat([Buffer.from(`${folder.path}/`), rawToBytes(name)]),
      { bigint: true },
    )
    assert.deepEqual([made.atimeNs, made.mtimeNs, made.mode & 0o777n], [1_000_000_001n, -1n, 0o750n])
    assert.equal(folder.sh('stat -c %u:%g link').trim(), '4000000000:7')
    assert.deepEqual(readlinkSync(join(folder.path, 'link'), { encoding: 'buffer' }), rawToBytes(name))
    assert.equal(folder.sh('stat -c %t:%T null').trim(), '1:3')
    assert.equal(libc.statAt(handle, asRaw('null')).device, 0x103n)
    const status = libc.statAt(handle, asRaw('third'))
    const stat = statSync(join(folder.path, 'third'), { bigint: true })
    assert.deepEqual(
      [status.inode, status.links, status.size, status.mtimeNs, status.ctimeNs, status.deviceId],
      [stat.ino, 2, 1, stat.mtimeNs, stat.ctimeNs, stat.dev],
    )
    libc.removeAt(handle, asRaw('third'), 'file')
    libc.removeAt(handle, name, 'folder')
    assert.equal(folder.sh('ls'), 'file\nlink\nnull\npipe\n')
  } finally {
    libc.close(handle)
  }
})

test('all names of a file have one handle, the one that Python is told, and a link has its own', () => {
  using folder = new Folder()
  const libc = open()
  folder.sh('echo x >a; ln a b; echo x >c; ln -s a l')
  const handle = (name: string) => {
    const found = libc.fileHandle(folder.raw(name))
    return found && `${found.type} ${found.bytes.toString('hex')}`
  }
  const python = `
import ctypes, sys
class Handle(ctypes.Structure): _fields_ = [('bytes', ctypes.c_uint), ('type', ctypes.c_int), ('handle', ctypes.c_ubyte * 128)]
handle = Handle(128); mount = ctypes.c_int()
assert ctypes.CDLL(None).name_to_handle_at(-100, b'a', ctypes.byref(handle), ctypes.byref(mount), 0) == 0
print(handle.type, bytes(handle.handle[:handle.bytes]).hex(), end='')`
  assert.equal(handle('a'), folder.sh(`python3 -c "${python}"`))
  assert.equal(handle('b'), handle('a'))
  assert.equal(new Set([handle('a'), handle('c'), handle('l')]).size, 3)
  assert.throws(() => handle('none'), { code: 'ENOENT' })
})

test('a call that fails tells its code, a link is not followed, and a name with NUL is refused', () => {
  using folder = new Folder()
  const libc = open()
  folder.sh('mkdir full; touch full/x file; ln -s full link')
  const handle = libc.openAt(here, folder.raw(''), constants.O_DIRECTORY)
  try {
    assert.equal(
      codeOf(() => libc.statAt(handle, asRaw('none'))),
      'ENOENT',
    )
    assert.equal(
      codeOf(() => libc.removeAt(handle, asRaw('full'), 'folder')),
      'ENOTEMPTY',
    )
    assert.equal(
      codeOf(() => libc.openAt(handle, asRaw('link'), constants.O_DIRECTORY | constants.O_NOFOLLOW)),
      'ENOTDIR',
    )
    assert.equal(
      codeOf(() => libc.openAt(handle, asRaw('file\0.txt'), 0)),
      'EINVAL',
    )
    assert.equal(
      codeOf(() => libc.statAt(handle, asRaw('n'.repeat(256)))),
      'ENAMETOOLONG',
    )
    assert.equal(
      codeOf(() => libc.statAt(handle, asRaw('n/'.repeat(3000)))),
      'ENAMETOOLONG',
    )
    assert.equal(
      codeOf(() => libc.listXattrs(folder.raw('none'))),
      'ENOENT',
    )
  } finally {
    libc.close(handle)
  }
})

test('no warning is printed, and worker threads can use it', async () => {
  const script = `
    const { openLibc } = await import(${JSON.stringify(new URL('libc.ts', import.meta.url).href)})
    const { parentPort } = await import('node:worker_threads')
    const found = openLibc(${JSON.stringify(tmpdir())}) !== undefined
    if (parentPort) parentPort.postMessage(found); else process.stdout.write(String(found))
    process.emitWarning('another one', 'ExperimentalWarning')`
  const run = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' })
  assert.equal(run.stdout, 'true')
  assert.doesNotMatch(run.stderr, /FFI/)
  assert.match(run.stderr, /another one/)
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(script)}`), { stderr: true })
  const found = await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
  assert.equal(found, true)
})

test('where it cannot be tried out there is none', () => {
  assert.equal(openLibc('/proc/nowhere'), undefined)
})

test('a status tells the mount that findmnt tells, and a sync of its disk works on any open file', () => {
  using folder = new Folder()
  const libc = open()
  writeFileSync(join(folder.path, 'file'), 'x')
  const idOf = (place: string) =>
    spawnSync('findmnt', ['-n', '-o', 'ID', '-T', place], { encoding: 'utf8' }).stdout.trim()
  assert.equal(String(libc.statAt(here, folder.raw('file')).mountId), idOf(folder.path))
  assert.equal(String(libc.statAt(here, rawFromString('/proc/version')).mountId), idOf('/proc/version'))
  const file = openSync(join(folder.path, 'file'), 'r')
  libc.syncDiskOf(file)
  closeSync(file)
  assert.throws(() => libc.syncDiskOf(-1), { code: 'EBADF' })
})
