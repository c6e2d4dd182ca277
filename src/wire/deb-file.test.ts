import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  createReadStream,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { isFailure, type FailureCode } from '../base/failure.ts'
import type { RawPath } from '../model/raw-path.ts'
import { arHeader, arMagic } from './ar.ts'
import { openDeb, type DebEntry } from './deb-file.ts'
import { openLocalShell } from './local-shell.ts'
import type { Shell } from './shell.ts'

const shell = openLocalShell()
const content = Buffer.from(Array.from({ length: 200_001 }, (_, at) => (at * at) % 251))
let folder = ''
before(() => void (folder = mkdtempSync(join(tmpdir(), 'vml-deb-'))))
after(() => rmSync(folder, { recursive: true, force: true }))

const control = `Package: thing
Source: things (1.0-2)
Version: 1:1.0-2+b1
Architecture: all
Maintainer: Nobody <nobody@localhost>
Depends: libc6 (>= 2.36), a:any | b (<< 2)
Description: first line
 second line
 .
 last line
`

/** Built by dpkg-deb, whatever it is told about compression. */
function build(name: string, ...words: readonly string[]): string {
  const source = join(folder, 'source')
  rmSync(source, { recursive: true, force: true })
  const write = (path: string, bytes: string | Buffer, mode = 0o644) => {
    const file = join(source, path)
    mkdirSync(join(file, '..'), { recursive: true })
    writeFileSync(file, bytes)
    chmodSync(file, mode)
  }
  write('DEBIAN/control', control)
  write('DEBIAN/postinst', '#!/bin/sh\nexit 0\n', 0o755)
  write('DEBIAN/conffiles', '/etc/thing.conf\nremove-on-upgrade /etc/old thing\n')
  write(
    'DEBIAN/md5sums',
    `${'a'.repeat(32)}  usr/bin/thing\n\\${'b'.repeat(32)}  usr/odd\\nname\\\\\nnonsense\n`,
  )
  write('etc/thing.conf', 'x\n')
  write('usr/bin/thing', content, 0o4755)
  write('usr/empty', '')
  write(`usr/${'long'.repeat(60)}`, 'long')
  linkSync(join(source, 'usr/bin/thing'), join(source, 'usr/bin/zwilling'))
  symlinkSync('bin/thing', join(source, 'usr/link'))
  chmodSync(join(source, 'DEBIAN'), 0o755)
  const file = join(folder, `${name}.deb`)
  execFileSync('dpkg-deb', ['--root-owner-group', ...words, '--build', source, file], { stdio: 'pipe' })
  return file
}

interface Read extends Omit<DebEntry, 'segments'> {
  readonly bytes: Buffer
}

async function readAll(file: string | Buffer, by: Shell = shell) {
  const stream = typeof file === 'string' ? createReadStream(file) : pieces(file)
  await using deb = await openDeb(stream, { shell: by })
  const entries: Read[] = []
  for await (const { segments, ...entry } of deb.entries()) {
    const parts: Uint8Array[] = []
    for await (const segment of segments()) if (segment.kind === 'data') parts.push(segment.bytes)
    entries.push({ ...entry, bytes: Buffer.concat(parts) })
  }
  return { control: deb.control, entries }
}

async function* pieces(bytes: Buffer, most = 1000): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += most) yield bytes.subarray(at, at + most)
}

describe('a package that dpkg-deb built', () => {
  const forms = [
    ['none'],
    ['gzip'],
    ['xz'],
    ['zstd'],
    ['xz', '--uniform-compression'],
    ['zstd', '-z19'],
  ] as const
  for (const [compression, ...more] of forms) {
    test(`is read whole: ${[compression, ...more].join(' ')}`, async () => {
      const file = build('whole', `-Z${compression}`, ...more)
      const read = await readAll(file)
      checkControl(read.control)
      checkEntries(read.entries, file)
    })
  }

  test('is read by dpkg-deb where its machine has no other program', async () => {
    const asked: string[] = []
    const poor: Shell = {
      ...shell,
      start(request) {
        asked.push(request.argv[0] ?? '')
        return shell.start(request)
      },
      run: async () => ({ status: 0, stdout: Buffer.from('dpkg-deb\n'), stderr: Buffer.alloc(0) }),
    }
    const file = build('poor', '-Zxz', '--uniform-compression')
    checkEntries((await readAll(file, poor)).entries, file)
    assert.deepEqual(asked, ['dpkg-deb', 'dpkg-deb'])
  })

  test('says what is missing where its machine has no program at all', async () => {
    const none = async () => ({ status: 0, stdout: Buffer.alloc(0), stderr: Buffer.alloc(0) })
    await refused(readAll(build('none', '-Zxz'), { ...shell, run: none }), 'unsupported')
  })

  test('is left early without harm', async () => {
    await using deb = await openDeb(createReadStream(build('early', '-Zxz')), { shell })
    for await (const { path } of deb.entries()) if (path !== '/') break
  })
})

function checkControl({
  paragraph,
  scripts,
  conffiles,
  md5sums,
  files,
}: Awaited<ReturnType<typeof readAll>>['control']) {
  assert.equal(paragraph.get('version'), '1:1.0-2+b1')
  assert.equal(paragraph.get('description'), 'first line\nsecond line\n.\nlast line')
  assert.deepEqual([...scripts.keys()], ['postinst'])
  assert.equal(files.get('control')?.toString(), control)
  assert.deepEqual(conffiles, [
    { path: '/etc/thing.conf', removeOnUpgrade: false },
    { path: '/etc/old thing', removeOnUpgrade: true },
  ])
  assert.deepEqual(
    [...md5sums],
    [
      ['/usr/bin/thing', 'a'.repeat(32)],
      ['/usr/odd\nname\\', 'b'.repeat(32)],
    ],
  )
}

function checkEntries(entries: readonly Read[], file: string): void {
  const told = execFileSync('sh', [
    '-c',
    'dpkg-deb --fsys-tarfile "$1" | tar --numeric-owner -tvf -',
    'sh',
    file,
  ])
  assert.equal(entries.length, told.toString().trim().split('\n').length)
  const at = (path: string) => entries.find((entry) => entry.path === path)
  assert.deepEqual(at('/usr/bin/thing')?.bytes, content)
  assert.equal(at('/usr/bin/thing')?.attributes.mode, 0o4755)
  assert.equal(at('/usr/bin/thing')?.attributes.uid, 0)
  assert.equal(at('/usr/bin/thing')?.attributes.size, content.length)
  assert.equal(at('/usr/bin/zwilling')?.hardLinkTo, '/usr/bin/thing')
  assert.equal(at('/usr/link')?.attributes.linkTarget, 'bin/thing')
  assert.equal(at('/usr/empty')?.bytes.length, 0)
  assert.equal(at(`/usr/${'long'.repeat(60)}`)?.bytes.toString(), 'long')
  assert.equal(at('/usr')?.attributes.type, 'dir')
}

describe('what is no package', () => {
  const member = (name: string, bytes: Buffer) =>
    Buffer.concat([arHeader(name, bytes.length), bytes, Buffer.alloc(bytes.length % 2, '\n')])
  const tar = (files: Readonly<Record<string, string>>) => {
    const source = mkdtempSync(join(folder, 'tar-'))
    for (const [name, text] of Object.entries(files)) writeFileSync(join(source, name), text)
    return execFileSync('tar', ['-C', source, '-cf', '-', '.'])
  }
  const format = member('debian-binary', Buffer.from('2.0\n'))
  const named = tar({ control: 'Package: a\nVersion: 1\nArchitecture: all\n' })
  const debOf = (...members: readonly Buffer[]) => Buffer.concat([Buffer.from(arMagic), ...members])

  test('is refused by name', async () => {
    await refused(readAll(Buffer.from('no archive at all')), 'integrity.format')
    await refused(readAll(Buffer.alloc(0)), 'integrity.truncated')
    await refused(readAll(debOf()), 'integrity.format')
    await refused(readAll(debOf(member('debian-binary', Buffer.from('3.0\n')))), 'integrity.format')
    await refused(readAll(debOf(format, member('data.tar', named))), 'integrity.format')
    await refused(readAll(debOf(format, member('control.tar', tar({ postinst: '' })))), 'integrity.format')
    await refused(
      readAll(debOf(format, member('control.tar', tar({ control: 'Package: a\n' })))),
      'integrity.format',
    )
    await refused(readAll(debOf(format, member('control.tar.rar', named))), 'unsupported')
    for (const ending of ['gz', 'xz', 'zst'])
      await refused(readAll(debOf(format, member(`control.tar.${ending}`, named))), 'integrity.format')
  })

  test('members that other programs put in are passed over, and a newer minor format is read', async () => {
    const newer = member('debian-binary', Buffer.from('2.7\nmore\n'))
    const odd = member('_signature', Buffer.from('odd'))
    const { control, entries } = await readAll(
      debOf(
        newer,
        odd,
        member('control.tar/', named),
        odd,
        member('data.tar', named),
        member('later', named),
      ),
    )
    assert.equal(control.paragraph.get('package'), 'a')
    assert.deepEqual(
      entries.map(({ path }) => path),
      ['/', '/control'],
    )
  })

  test('a path that leads out of the package is refused', async () => {
    const words = ['-C', folder, '-P', '--no-recursion', '--transform=s,^.*$,../x,', '-cf', '-', '.']
    const out = execFileSync('tar', words)
    await refused(
      readAll(debOf(format, member('control.tar', named), member('data.tar', out))),
      'integrity.format',
    )
  })

  test('cut off anywhere, it is never taken for whole', async () => {
    const whole = readFileSync(build('cut', '-Zgzip'))
    const data = whole.indexOf('data.tar.gz')
    for (let end = 0; end < whole.length; end += end < data + 60 ? 37 : 1009)
      await refused(readAll(whole.subarray(0, end)), 'integrity.format', 'integrity.truncated')
  })
})

async function refused(promise: Promise<unknown>, ...codes: readonly FailureCode[]): Promise<void> {
  await assert.rejects(promise, (error) => isFailure(error, ...codes) || assert.fail(error as Error))
}

test('paths are of the form that the rest of VML takes', async () => {
  const { entries } = await readAll(build('form', '-Znone'))
  assert.ok(entries.every(({ path }: { path: RawPath }) => path.startsWith('/') && !path.includes('/.')))
})
