// Files written through the C library where a system lacks what is usual: no unnamed files, no hard links, no more room.
import assert from 'node:assert/strict'
import { tmpdir } from 'node:os'
import { test } from 'node:test'
import { systemErrorCode } from '../base/failure.ts'
import { asRaw } from '../base/raw-text.ts'
import { parseRawPath, type RawPath } from '../model/raw-path.ts'
import type { Attributes } from '../model/tree.ts'
import { type Libc, openLibc } from '../wire/libc.ts'
import { openLocalFolders } from './local-folders.ts'
import { type LocalWriter, openLocalWriter } from './local-write.ts'
import { type Bench, openBench } from './userlands.fixture.ts'

const attributes: Attributes = { type: 'file', mode: 0o640, uid: 1, gid: 2, mtimeNs: 1_234_567_891n, size: 4 }

function refusing(libc: Libc, calls: Partial<Record<keyof Libc, string>>): Libc {
  const refused = Object.entries(calls).map(([name, code]) => [
    name,
    () => {
      const syscall = name === 'linkOpen' || name === 'linkAt' ? 'linkat' : name
      throw Object.assign(new Error(code), { code, syscall })
    },
  ])
  return { ...libc, ...(Object.fromEntries(refused) as Partial<Libc>) }
}

function withWriter(
  calls: Partial<Record<keyof Libc, string>>,
  task: (writer: LocalWriter, bench: Bench) => void,
): void {
  const plain = openLibc(tmpdir())
  assert.ok(plain)
  const libc = refusing(plain, calls)
  using bench = openBench()
  using folders = openLocalFolders(libc)
  bench.sh('mkdir d; echo old > d/there')
  task(openLocalWriter({ libc, folders, owners: true, run: '0123456789abcdef', thread: 0 }), bench)
  assert.equal(bench.sh(`find . -name '.vml-restore-*'`), '')
}

for (const [what, calls] of [
  ['as usual', {}],
  ['where no file can be without a name', { openAnonymous: 'EOPNOTSUPP' }],
  ['where a file without a name cannot get one', { linkOpen: 'ENOENT' }],
  ['where there are no hard links', { openAnonymous: 'EOPNOTSUPP', linkAt: 'EPERM' }],
] as const) {
  test(`files, pieces and links are written, replaced only where they may be, ${what}`, () => {
    withWriter(calls, (writer, bench) => {
      const item = (name: string, replaces: boolean, more: Partial<Attributes> = {}) => ({
        path: bench.path(`d/${name}`),
        attributes: { ...attributes, ...more },
        replaces,
      })
      const bytes = Buffer.from('new\n')
      writer.writeWhole(item('whole', false), bytes)
      writer.writeWhole(item('second', false), bytes)
      writer.beginPart(item('parts', false), 1)
      writer.writePart(item('parts', false), { part: 1, at: 2, bytes: bytes.subarray(2) })
      writer.writePart(item('parts', false), { part: 1, at: 0, bytes: bytes.subarray(0, 2) })
      writer.finishPart(item('parts', false), 1)
      writer.makeOther(item('link', false, { type: 'symlink', linkTarget: asRaw('whole') }))
      for (const write of [
        () => writer.writeWhole(item('there', false), bytes),
        () => writer.makeOther(item('there', false, { type: 'fifo' })),
      ])
        assert.throws(write, (error) => systemErrorCode(error) !== undefined)
      writer.beginPart(item('there', false), 2)
      writer.writePart(item('there', false), { part: 2, at: 0, bytes })
      assert.throws(
        () => writer.finishPart(item('there', false), 2),
        (error) => systemErrorCode(error) !== undefined,
      )
      assert.equal(bench.sh('cat d/there'), 'old\n')
      writer.writeWhole(item('there', true), bytes)
      assert.equal(bench.sh('cat d/whole d/second d/parts d/link d/there'), 'new\n'.repeat(5))
      assert.equal(
        bench.sh('stat -c "%a %u %g %.9Y" d/whole d/parts d/there | sort -u'),
        '640 1 2 1.234567891\n',
      )
    })
  })
}

test('where the place of a folder is taken by a link nothing goes through it', () => {
  withWriter({}, (writer, bench) => {
    bench.sh('mkdir away; ln -s ../away d/sub')
    const path = (name: string): RawPath => {
      const parsed = parseRawPath(asRaw(`${bench.path('d/sub')}${name}`))
      assert.ok(parsed)
      return parsed
    }
    const inner = { path: path('/f'), attributes, replaces: true }
    for (const call of [
      () => writer.makeFolder(path('')),
      () => writer.makeFolder(path('/in')),
      () => writer.unlockFolder(path('')),
      () =>
        writer.finishFolder({ path: path(''), attributes: { ...attributes, type: 'dir' }, replaces: false }),
      () => writer.sweep(path('')),
      () => writer.writeWhole(inner, Buffer.from('x')),
      () => writer.beginPart(inner, 3),
      () => writer.writePart(inner, { part: 3, at: 0, bytes: Buffer.from('x') }),
      () => writer.makeOther({ ...inner, attributes: { ...attributes, type: 'fifo' } }),
      () => writer.makeHardLink(inner, bench.path('d/there')),
      () => writer.makeHardLink({ ...inner, path: bench.path('d/new') }, path('/f')),
    ])
      assert.throws(call, (error) => systemErrorCode(error) === 'ENOTDIR')
    assert.equal(bench.sh('ls -A away'), '')
  })
})
