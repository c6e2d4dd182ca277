import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  chmodSync,
  cpSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { createConnection, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '../base/clock.ts'
import { type Reporter, silentReporter } from '../base/progress.ts'
import { rawFromString } from '../base/raw-text.ts'
import { parseRawPath, rootPath } from '../model/raw-path.ts'
import { openCommitDisk } from '../stage/commit-disk.ts'
import { openLibc } from '../wire/libc.ts'
import { dropHeld, holdFiles, letGoOfWhatIsThere, putBackTaken, takenNow } from './held-files.ts'
import { openFolder } from './workplace.ts'

function machine() {
  const root = mkdtempSync(join(tmpdir(), 'vml-held-'))
  const at = (path: string) => join(root, path)
  for (const folder of ['tmp/deep', 'var/tmp', 'var/log/named', 'srv'])
    mkdirSync(at(folder), { recursive: true })
  const libc = openLibc(tmpdir())
  assert.ok(libc)
  const rawPath = (path: string) => parseRawPath(rawFromString(path)) ?? rootPath
  const warnings: string[] = []
  const reporter: Reporter = { ...silentReporter, warn: ({ warning }) => void warnings.push(warning) }
  const state = rawPath(at('state'))
  const place = { root: rawPath(root), state, disk: openCommitDisk(libc), libc, clock: systemClock, reporter }
  mkdirSync(openFolder(place), { recursive: true })
  return { at, place, warnings, [Symbol.dispose]: () => rmSync(root, { recursive: true, force: true }) }
}

/** As `mv` does across mounts. */
function moveAway(from: string, to: string): void {
  cpSync(from, to, { recursive: true })
  rmSync(from, { recursive: true })
}

test('what was moved or removed is put back as the same thing, with what was written to it since', () => {
  using made = machine()
  const { at, place, warnings } = made
  writeFileSync(at('tmp/upload'), 'my only copy', { mode: 0o640 })
  writeFileSync(at('tmp/deep/ä'), 'x')
  symlinkSync('nowhere', at('var/tmp/link'))
  writeFileSync(at('var/log/named/l'), 'log\n')
  utimesSync(at('var/log/named'), 1, 1)
  const { ino } = lstatSync(at('tmp/upload'))
  holdFiles(place, 'command')
  appendFileSync(at('tmp/upload'), ', and more')
  for (const name of ['tmp/upload', 'tmp/deep']) moveAway(at(name), at(`srv/${name.slice(4)}`))
  for (const name of ['var/log/named', 'var/tmp/link']) rmSync(at(name), { recursive: true })
  const gone = ['/tmp/deep', '/tmp/upload', '/var/log/named', '/var/tmp/link']
  assert.deepEqual(takenNow(place).toSorted(), gone)
  letGoOfWhatIsThere(place)
  assert.deepEqual(takenNow(place).toSorted(), gone)
  assert.equal(putBackTaken(place).length, 6)
  assert.equal(readFileSync(at('tmp/upload'), 'utf8'), 'my only copy, and more')
  const { ino: now, mode } = lstatSync(at('tmp/upload'))
  assert.deepEqual([now, mode & 0o777], [ino, 0o640])
  assert.equal(readFileSync(at('tmp/deep/ä'), 'utf8'), 'x')
  assert.equal(readFileSync(at('var/log/named/l'), 'utf8'), 'log\n')
  assert.equal(lstatSync(at('var/log/named')).mtimeMs, 1000)
  assert.equal(readlinkSync(at('var/tmp/link')), 'nowhere')
  // Cut off, it is done once more.
  assert.deepEqual(putBackTaken(place), [])
  dropHeld(place)
  assert.equal(lstatSync(at('tmp/upload')).nlink, 1)
  assert.equal(warnings.length, 1)
})

test('what was renamed is not taken, and what is still there is not held for long', () => {
  using made = machine()
  const { at, place, warnings } = made
  for (const name of ['tmp/one', 'var/log/syslog', 'tmp/deep/in']) writeFileSync(at(name), name)
  linkSync(at('tmp/one'), at('tmp/deep/same'))
  holdFiles(place, 'command')
  renameSync(at('var/log/syslog'), at('var/log/syslog.1'))
  renameSync(at('tmp/deep'), at('var/tmp/deep'))
  renameSync(at('tmp/one'), at('tmp/two'))
  assert.deepEqual(takenNow(place), [])
  letGoOfWhatIsThere(place)
  assert.equal(lstatSync(at('var/log/syslog.1')).nlink, 1)
  assert.deepEqual(putBackTaken(place), [])
  assert.equal(existsSync(at('tmp/deep')), false)
  assert.deepEqual(warnings, [])
})

test('what something else stands in place of by then is kept, and told; a waiting stage holds it, too', () => {
  for (const waits of [false, true]) {
    using made = machine()
    const { at, place, warnings } = made
    for (const name of ['tmp/f', 'tmp/deep/one', 'tmp/deep/two', 'tmp/there']) writeFileSync(at(name), 'mine')
    holdFiles(place, 'command')
    moveAway(at('tmp/f'), at('srv/f'))
    moveAway(at('tmp/deep'), at('srv/deep'))
    const again = () => {
      writeFileSync(at('tmp/f'), 'another')
      mkdirSync(at('tmp/deep'))
      writeFileSync(at('tmp/deep/one'), 'another')
    }
    if (!waits) again()
    letGoOfWhatIsThere(place)
    if (waits) again()
    assert.deepEqual(putBackTaken(place), ['/tmp/deep/two'])
    dropHeld(place)
    assert.equal(lstatSync(at('tmp/there')).nlink, 1)
    for (const name of ['f', 'deep/one']) assert.equal(readFileSync(at(`tmp/${name}`), 'utf8'), 'another')
    assert.equal(readFileSync(at('tmp/deep/two'), 'utf8'), 'mine')
    const told = warnings.at(-1) ?? ''
    assert.match(told, /^"\/tmp\/f", "\/tmp\/deep\/one": removed meanwhile, .* something else is in the way/)
    const kept = [...told.matchAll(/"([^"]*\/held-[^"]+)"/g)].map(([, path = '']) =>
      readFileSync(path, 'utf8'),
    )
    assert.deepEqual(kept, ['mine', 'mine'])
  }
})

test('one of two names of a file comes back as one of its names, be the other elsewhere; a pipe comes back', () => {
  using made = machine()
  const { at, place } = made
  for (const name of ['tmp/one', 'tmp/three']) writeFileSync(at(name), 'x')
  linkSync(at('tmp/one'), at('tmp/deep/two'))
  linkSync(at('tmp/three'), at('srv/backup'))
  assert.equal(spawnSync('mkfifo', [at('tmp/pipe')]).status, 0)
  holdFiles(place, 'command')
  const gone = ['/tmp/one', '/tmp/pipe', '/tmp/three']
  for (const name of gone) rmSync(at(name))
  assert.deepEqual(takenNow(place).toSorted(), gone)
  letGoOfWhatIsThere(place)
  assert.deepEqual(putBackTaken(place).toSorted(), gone)
  dropHeld(place)
  for (const [one, other] of [
    ['tmp/one', 'tmp/deep/two'],
    ['tmp/three', 'srv/backup'],
  ] as const) {
    const { ino, nlink } = lstatSync(at(one))
    assert.deepEqual([ino, nlink], [lstatSync(at(other)).ino, 2])
  }
  assert.ok(lstatSync(at('tmp/pipe')).isFIFO())
})

test('a socket that a program has, and a device, come back; one whose program ended or made it anew does not', async () => {
  using made = machine()
  const { at, place, warnings } = made
  mkdirSync(at('tmp/app'))
  const listen = async (name: string) => {
    const server = createServer().listen(at(name))
    await once(server, 'listening')
    return server
  }
  const names = ['tmp/app/there', 'tmp/anew', 'tmp/ended', 'tmp/renamed']
  const servers = await Promise.all(names.map(listen))
  const hasDevice = spawnSync('mknod', [at('tmp/null'), 'c', '1', '3']).status === 0
  try {
    holdFiles(place, 'command')
    const [, anew, ended] = servers
    for (const server of [anew, ended]) await new Promise((done) => server?.close(done))
    if (anew) servers[1] = await listen('tmp/anew')
    renameSync(at('tmp/renamed'), at('tmp/other'))
    rmSync(at('tmp/app'), { recursive: true })
    rmSync(at('tmp/null'), { force: true })
    const gone = ['/tmp/app', '/tmp/app/there', ...(hasDevice ? ['/tmp/null'] : [])]
    letGoOfWhatIsThere(place)
    assert.deepEqual(putBackTaken(place).toSorted(), gone)
    dropHeld(place)
    const connection = createConnection(at('tmp/app/there'))
    await once(connection, 'connect')
    connection.destroy()
    assert.equal(
      hasDevice,
      lstatSync(at('tmp/null'), { throwIfNoEntry: false })?.isCharacterDevice() ?? false,
    )
    assert.deepEqual(
      readdirSync(at('tmp'))
        .toSorted()
        .filter((name) => name !== 'null'),
      ['anew', 'app', 'deep', 'other'],
    )
    assert.equal(warnings.length, 1)
  } finally {
    for (const server of servers) server.close()
  }
})

test('both names of a file that are gone come back, and what cannot come back stays held, and is named', () => {
  using made = machine()
  const { at, place, warnings } = made
  writeFileSync(at('tmp/one'), 'x')
  linkSync(at('tmp/one'), at('var/tmp/other'))
  writeFileSync(at('tmp/deep/in'), 'in')
  holdFiles(place, 'command')
  for (const name of ['tmp/one', 'var/tmp/other', 'tmp/deep']) rmSync(at(name), { recursive: true })
  // Of somebody who would have root write elsewhere.
  chmodSync(at('tmp'), 0o1777)
  symlinkSync(at('srv'), at('tmp/deep'))
  putBackTaken(place)
  dropHeld(place)
  assert.equal(lstatSync(at('tmp/one')).ino, lstatSync(at('var/tmp/other')).ino)
  assert.deepEqual(readdirSync(at('srv')), [])
  const kept = /It is kept as "([^"]+)"/.exec(warnings.join('\n'))?.[1] ?? ''
  assert.equal(readFileSync(join(kept, 'in'), 'utf8'), 'in')
})

test('what a start of the machine took from /tmp does not come back there, and is kept', () => {
  using made = machine()
  const { at, place, warnings } = made
  for (const name of ['tmp/.X0-lock', 'tmp/deep/there', 'var/log/l']) writeFileSync(at(name), name)
  holdFiles(place, 'command')
  for (const name of ['tmp/.X0-lock', 'var/log/l']) rmSync(at(name))
  writeFileSync(join(openFolder(place), 'held/since'), 'another boot')
  assert.deepEqual(takenNow(place), ['/var/log/l'])
  assert.deepEqual(putBackTaken(place), ['/var/log/l'])
  dropHeld(place)
  assert.deepEqual([existsSync(at('tmp/.X0-lock')), existsSync(at('var/log/l'))], [false, true])
  const kept = /It is kept as "([^"]+)"/.exec(warnings.join('\n'))?.[1] ?? ''
  assert.equal(readFileSync(kept, 'utf8'), 'tmp/.X0-lock')
  assert.equal(lstatSync(at('tmp/deep/there')).nlink, 1)
})

test('what was marked meanwhile as not to be changed keeps nobody from the next transaction', (t) => {
  using made = machine()
  const { at, place, warnings } = made
  writeFileSync(at('var/log/l'), 'x')
  holdFiles(place, 'apt')
  if (spawnSync('chattr', ['+i', at('var/log/l')]).status !== 0) {
    t.skip('this file system has no such marks')
    return
  }
  try {
    letGoOfWhatIsThere(place)
    assert.deepEqual(putBackTaken(place), [])
    dropHeld(place)
    assert.equal(existsSync(join(openFolder(place), 'held')), false)
    assert.match(warnings.join('\n'), /marked meanwhile as not to be changed/)
  } finally {
    spawnSync('chattr', ['-i', at('var/log/l')])
  }
})

test('packages are asked for /var/log alone, and more than can be held is told before the command runs', () => {
  using made = machine()
  const { at, place, warnings } = made
  for (const name of ['tmp/one', 'tmp/two', 'var/log/l']) writeFileSync(at(name), name)
  holdFiles(place, 'apt')
  assert.deepEqual([lstatSync(at('tmp/one')).nlink, lstatSync(at('var/log/l')).nlink], [1, 2])
  dropHeld(place)
  assert.deepEqual(warnings, [])
  holdFiles(place, 'command', { things: 2 })
  assert.match(warnings.join('\n'), /Not all that lies in \/tmp \(more than 2 files\) can be held/)
})
