import assert from 'node:assert/strict'
import { test } from 'node:test'
import { asRaw } from '../base/raw-text.ts'
import { parseRawPath, type RawPath } from './raw-path.ts'
import {
  commandAgain,
  isMadeItself,
  regenerations,
  ruleOf,
  ruleWhenChanged,
  servesAt,
} from './regeneration.ts'

test('only what issue 4 lets differ has a rule in place of a pre-image', () => {
  const rules = {
    '/etc/ld.so.cache': 'ld.so.cache',
    '/boot/initrd.img-6.1.0-40-amd64': 'initrd',
    '/boot/initramfs-5.14.0.img': 'initramfs',
    '/lib/modules/6.1.0/modules.dep.bin': 'modules',
    '/usr/lib/modules/6.1.0/modules.symbols': 'modules',
    '/usr/lib/python3/dist-packages/__pycache__/six.cpython-311.pyc': 'pycache',
    '/var/lib/dpkg/status-old': 'copies-before',
    '/var/cache/debconf/config.dat-old': 'copies-before',
    '/etc/gshadow-': 'copies-before',
    '/var/log/nginx/access.log': 'logs',
    '/var/lib/apt/lists/deb.debian.org_debian_InRelease': 'package-lists',
    '/var/lib/apt/lists/deb.debian.org_debian_dists_bookworm_main_i18n_Translation-en.lz4': 'package-lists',
    '/var/cache/apt/pkgcache.bin': 'apt-cache',
    '/var/log/journal/0123/system.journal': 'logs',
    '/var/lib/rpm/rpmdb.sqlite-wal': 'package-database',
    '/var/lib/rpm/Packages': 'package-database',
    '/var/cache/man/index.db': 'man-index',
    '/var/cache/ldconfig/aux-cache': 'caches',
  }
  for (const [path, name] of Object.entries(rules)) assert.equal(ruleOf(pathOf(path))?.name, name, path)
})

test('what nobody makes again when it alone is gone is kept where it goes', () => {
  for (const path of ['cracklib/cracklib_dict.pwd', 'fwupd/firmware.cab', 'dictionaries-common/x.db'])
    assert.equal(ruleOf(pathOf(`/var/cache/${path}`))?.standsFor, 'rewriting', path)
  assert.equal(ruleOf(pathOf('/var/cache/dnf/x.solv'))?.standsFor, 'any change')
})

test('all else must come back exactly, whatever its name looks like', () => {
  const exact = [
    ...[
      '/var/cache/debconf/config.dat',
      '/home/u/notes-old',
      '/etc/x-',
      '/lib/modules/6.1.0/modules.builtin',
    ],
    ...['/usr/lib/locale/locale-archive', '/var/lib/ucf/registry.3'],
    ...['/lib/modules/6.1.0/modules.order', '/lib/modules/6.1.0/kernel/x.ko', '/boot/vmlinuz-6.1.0'],
    ...[
      '/etc/ssl/certs/ca-certificates.crt',
      '/boot/grub/grub.cfg',
      '/usr/share/mime/mime.cache',
      '/etc/udev/hwdb.bin',
    ],
    ...[
      '/usr/share/glib-2.0/schemas/gschemas.compiled',
      '/srv/x/__pycache__/data.txt',
      '/var/lib/dpkg/status',
    ],
    ...['/var/logs/x', '/var/cache', '/etc/ld.so.cache.d'],
    // Names that people give: nothing would make these again.
    ...['/boot/initrd.img-rescue', '/boot/initramfs-rescue.img', '/usr/share/info/dir'],
    ...['/lib/modules/mine/modules.dep', '/srv/x/__pycache__/mine.pyc', '/var/lib/dpkg/mine-old'],
    ...['/var/cache/debconf/mine-old', '/var/lib/rpm/rpmdb.sqlite.bak', '/var/lib/rpm/Packages-2026'],
    ...['/var/lib/apt/lists/notes', '/var/cache/apt/mine.bin', '/var/cache/apt/archives/mine_1_all.deb'],
    ...['/var/cache/man/notes', '/var/cache/fontconfig/notes', '/var/cache/mine/data'],
  ]
  for (const path of exact) assert.equal(ruleOf(pathOf(path)), undefined, path)
  assert.equal(ruleWhenChanged(pathOf('/etc/ssl/certs/ca-certificates.crt'))?.name, 'ca-certificates')
  assert.equal(ruleWhenChanged(pathOf('/usr/share/mime/mime.cache'))?.keepsPreImage, true)
  assert.equal(ruleWhenChanged(pathOf('/etc/x')), undefined)
})

test('a rule serves only where what it makes the file of is there', () => {
  const kernel = ['/usr/sbin/update-initramfs', '/usr/lib/modules/6.1.0/modules.dep', '/boot/vmlinuz-6.1.0']
  const serves = (path: string, there: readonly string[]) =>
    servesAt(pathOf(path), (each) => there.includes(String(each)))
  const initrd = '/boot/initrd.img-6.1.0'
  assert.equal(serves(initrd, kernel), true)
  for (const missing of kernel)
    assert.equal(
      serves(
        initrd,
        kernel.filter((each) => each !== missing),
      ),
      false,
      missing,
    )
  for (const copy of ['.bak', '.old', '-mine']) assert.equal(serves(initrd + copy, kernel), false, copy)
  assert.equal(serves('/srv/__pycache__/a.b.cpython-311.opt-1.pyc', ['/srv/a.b.py']), true)
  assert.equal(serves('/srv/__pycache__/a.cpython-311.pyc', ['/srv/b.py']), false)
  assert.equal(serves('/lib/modules/6.1/modules.dep', ['/sbin/depmod', '/lib/modules/6.1/kernel']), true)
  assert.equal(serves('/lib/modules/6.1/modules.dep', ['/sbin/depmod']), false)
  assert.equal(serves('/var/cache/man/index.db', []), false)
  assert.equal(serves('/var/log/x.log', []), true)
})

test('each program runs once, modules before the initrd', () => {
  const commands = run([
    ['/boot/initrd.img-6.1.0', true, true],
    ['/lib/modules/6.1.0/modules.dep', true, true],
    ['/lib/modules/6.1.0/modules.dep.bin', true, true],
    ['/etc/ld.so.cache', true, true],
    ['/usr/lib/x86_64-linux-gnu/libx.so.1', true, false],
    ['/usr/share/icons/hicolor/icon-theme.cache', true, true],
    ['/usr/bin/x', true, true],
  ])
  assert.deepEqual(commands, [
    'ldconfig',
    'depmod 6.1.0',
    'update-initramfs -u -k 6.1.0',
    'gtk-update-icon-cache --force --quiet /usr/share/icons/hicolor',
  ])
})

test('what is put back byte by byte is not made anew, and what is made of it is', () => {
  const restored = (path: string) => ({ path: pathOf(path), present: true, wanted: true, restored: true })
  const made = regenerations(
    [
      '/etc/ssl/certs/ca-certificates.crt',
      '/boot/grub/grub.cfg',
      '/usr/lib/x86_64-linux-gnu/libx.so.1',
      '/var/cache/man/index.db',
    ].map(restored),
  )
  assert.deepEqual(
    made.map(({ argv }) => argv.join(' ')),
    ['ldconfig'],
  )
})

test('an initrd that is missing is made, and one that k brought is none to make', () => {
  assert.deepEqual(run([['/boot/initrd.img-6.1.0', false, true]]), ['update-initramfs -c -k 6.1.0'])
  assert.deepEqual(run([['/boot/initrd.img-6.1.0', true, false]]), [])
})

test('a library or a path of the linker calls for the cache, a document does not', () => {
  assert.deepEqual(run([['/usr/local/lib/libx.so', true, true]]), ['ldconfig'])
  assert.deepEqual(run([['/etc/ld.so.conf.d/x.conf', true, false]]), ['ldconfig'])
  assert.deepEqual(run([['/usr/share/doc/libx.so', true, true]]), [])
})

test('only caches that programs make themselves may fail to be made', () => {
  const paths = [
    '/usr/lib/python3/dist-packages/__pycache__/a.cpython-311.pyc',
    '/var/cache/man/index.db',
    '/etc/ld.so.cache',
  ].map((path) => ({ path: pathOf(path), present: true, wanted: true }))
  const required = regenerations(paths).map(({ argv, required }) => [argv.join(' '), required])
  assert.deepEqual(required, [
    ['ldconfig', true],
    ['py3compile /usr/lib/python3/dist-packages', false],
    ['mandb --quiet', false],
  ])
})

test('what was to be made anew is told by its rule and path alone, and known again', () => {
  const paths = [
    '/usr/local/lib/libx.so.1',
    '/lib/modules/6.1.0/modules.dep',
    '/boot/initrd.img-6.1.0',
    '/boot/initramfs-5.14.0.img',
    '/usr/lib/python3/dist-packages/__pycache__/a.cpython-311.pyc',
    '/usr/share/info/dir',
    '/etc/udev/hwdb.bin',
    '/usr/lib/udev/hwdb.bin',
    '/usr/share/icons/hicolor/icon-theme.cache',
    '/etc/ssl/certs/ca-certificates.crt',
  ].map((path) => ({ path: pathOf(path), present: true, wanted: true }))
  const commands = regenerations(paths)
  assert.equal(commands.length, paths.length)
  for (const command of commands) assert.deepEqual(commandAgain(command, true), command)
  assert.deepEqual(commandAgain({ rule: 'initrd', path: pathOf('/boot/initrd.img-6.1.0') }, false)?.argv, [
    'update-initramfs',
    '-c',
    '-k',
    '6.1.0',
  ])
  const others = [
    ['initrd', '/etc/ld.so.cache'],
    ['logs', '/var/log/x'],
    ['a later rule', '/etc/ld.so.cache'],
  ] as const
  for (const [rule, path] of others) assert.equal(commandAgain({ rule, path: pathOf(path) }, true), undefined)
})

test('of several paths that one program makes, one that is there stands for it', () => {
  const made = (paths: readonly (readonly [string, boolean])[]) =>
    regenerations(paths.map(([path, present]) => ({ path: pathOf(path), present, wanted: true }))).map(
      (command) => [command.path, isMadeItself(command)],
    )
  const [dir, old] = ['/usr/share/info/dir', '/usr/share/info/dir.old'] as const
  for (const paths of [
    [
      [dir, true],
      [old, false],
    ],
    [
      [old, false],
      [dir, true],
    ],
  ] as const)
    assert.deepEqual(made(paths), [[dir, true]])
  assert.deepEqual(made([['/usr/lib/libx.so.1', true]]), [['/usr/lib/libx.so.1', false]])
})

function run(paths: readonly (readonly [string, boolean, boolean])[]): string[] {
  return regenerations(paths.map(([path, present, wanted]) => ({ path: pathOf(path), present, wanted }))).map(
    ({ argv }) => argv.join(' '),
  )
}

function pathOf(path: string): RawPath {
  const parsed = parseRawPath(asRaw(path))
  assert.ok(parsed !== undefined)
  return parsed
}
