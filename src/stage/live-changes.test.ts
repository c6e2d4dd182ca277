import assert from 'node:assert/strict'
import {
  appendFileSync,
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import fc from 'fast-check'
import { rawFromString, rawToBytes } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { PathChange } from '../model/transaction.ts'
import { openFolderReader } from '../wire/folder-reader.ts'
import { openLibc } from '../wire/libc.ts'
import { captureLive, type LiveCapture } from './live-capture.ts'
import { openLiveKept, readLiveChanges } from './live-changes.ts'
import type { MountPlan } from './mount-plan.ts'

let root = ''
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'vml-live-'))
  for (const folder of ['etc', 'usr/bin', 'usr/share', 'var/lib/vml/layer'])
    mkdirSync(join(root, folder), { recursive: true })
})
afterEach(() => rmSync(root, { recursive: true }))

const path = (text: string): RawPath => rawFromString(text) as RawPath
const at = (name: string) => join(root, name)

/** Of a root that is one mount. */
function plan(): MountPlan {
  const layer = path('/var/lib/vml/layer')
  return {
    root: path(root),
    state: path('/var/lib/vml'),
    mounts: [{ kind: 'overlay', path: path('/'), type: 'ext4', layer, flags: [] }],
    hidden: [path('/var/lib/vml')],
  }
}

function calls() {
  const [libc, reader] = [openLibc(tmpdir()), openFolderReader(tmpdir())]
  assert.ok(libc && reader)
  return { libc, reader }
}

function begin(): LiveCapture {
  return captureLive({ plan: plan(), cause: 'packages', ...calls() })
}

interface Found {
  readonly changes: readonly PathChange[]
  content(name: string): string | undefined
  lost(name: string): string
}

async function end(capture: LiveCapture): Promise<Found> {
  const request = { plan: plan(), planNow: plan(), capture, ...calls() }
  const changes = await readLiveChanges(request)
  const kept = openLiveKept(request)
  kept.prune(changes)
  return {
    changes,
    content(name) {
      const place = kept.at(path(name))
      return place === undefined ? undefined : readFileSync(rawToBytes(place), 'utf8')
    },
    lost: (name) => kept.lost(path(name)),
  }
}

test('what was replaced, removed and edited is told with its content before, and what was not is not', async () => {
  for (const name of ['etc/edited', 'usr/bin/replaced', 'usr/bin/gone', 'usr/bin/same'])
    writeFileSync(at(name), `old ${name}`)
  const capture = begin()
  appendFileSync(at('etc/edited'), ' more')
  writeFileSync(at('usr/bin/new'), 'new')
  renameSync(at('usr/bin/new'), at('usr/bin/replaced'))
  rmSync(at('usr/bin/gone'))
  const { changes, content } = await end(capture)
  assert.deepEqual(
    changes.map((change) => change.path),
    ['/etc/edited', '/usr/bin/gone', '/usr/bin/replaced'],
  )
  assert.equal(content('/etc/edited'), 'old etc/edited')
  assert.equal(content('/usr/bin/replaced'), 'old usr/bin/replaced')
  assert.equal(content('/usr/bin/gone'), 'old usr/bin/gone')
  assert.equal(lstatSync(at('usr/bin/same')).nlink, 1)
})

test('a file that was written in place, and of which there is no copy, is lost and says why', async () => {
  writeFileSync(at('usr/bin/tool'), 'old')
  utimesSync(at('usr/bin/tool'), 1, 1)
  const capture = begin()
  writeFileSync(at('usr/bin/tool'), 'new')
  const { changes, content, lost } = await end(capture)
  assert.deepEqual(
    changes.map(({ before, after }) => [before?.sha256, after?.size]),
    [[undefined, 3]],
  )
  assert.equal(content('/usr/bin/tool'), undefined)
  assert.equal(lost('/usr/bin/tool'), 'it was written in place, and there was no copy of it')
})

test('a file that was copied is told where only its time of change tells of a write, as cp -p over it does', async () => {
  for (const name of ['etc/written', 'etc/same']) {
    writeFileSync(at(name), 'old')
    utimesSync(at(name), 1, 1)
  }
  const capture = begin()
  for (const [name, content] of [
    ['etc/written', 'new'],
    ['etc/same', 'old'],
  ] as const) {
    writeFileSync(at(name), content)
    utimesSync(at(name), 1, 1)
  }
  const { changes, content } = await end(capture)
  assert.deepEqual(
    changes.map((change) => change.path),
    ['/etc/written'],
  )
  assert.equal(content('/etc/written'), 'old')
})

test('rights that changed alone are told of both sides, with the content that stayed', async () => {
  writeFileSync(at('usr/bin/tool'), 'content', { mode: 0o755 })
  const capture = begin()
  chmodSync(at('usr/bin/tool'), 0o700)
  const { changes, content } = await end(capture)
  assert.deepEqual(
    changes.map(({ before, after }) => [before?.mode, after?.mode, before?.sha256 === after?.sha256]),
    [[0o755, 0o700, true]],
  )
  assert.equal(content('/usr/bin/tool'), 'content')
})

test('names of one file, links and folders that become something else are told as they were', async () => {
  writeFileSync(at('usr/bin/one'), 'one')
  linkSync(at('usr/bin/one'), at('usr/bin/two'))
  symlinkSync('one', at('usr/bin/link'))
  mkdirSync(at('usr/share/folder'))
  writeFileSync(at('usr/share/folder/file'), 'in it')
  const capture = begin()
  rmSync(at('usr/bin/two'))
  rmSync(at('usr/bin/link'))
  writeFileSync(at('usr/bin/link'), 'a file now')
  rmSync(at('usr/share/folder'), { recursive: true })
  mkdirSync(at('usr/share/other'))
  writeFileSync(at('usr/share/other/file'), 'of another folder')
  symlinkSync('other', at('usr/share/folder'))
  const { changes, content } = await end(capture)
  assert.deepEqual(
    changes.map((change) => [
      change.path,
      change.before?.type,
      change.before?.linkTarget,
      change.after?.type,
    ]),
    [
      ['/usr/bin/link', 'symlink', 'one', 'file'],
      ['/usr/bin/two', 'file', undefined, undefined],
      ['/usr/share/folder', 'dir', undefined, 'symlink'],
      ['/usr/share/folder/file', 'file', undefined, undefined],
      ['/usr/share/other', undefined, undefined, 'dir'],
      ['/usr/share/other/file', undefined, undefined, 'file'],
    ],
  )
  assert.equal(content('/usr/bin/two'), 'one')
  assert.equal(content('/usr/share/folder/file'), 'in it')
})

test('nothing is kept any more of what did not change, and nothing changed when nothing was done', async () => {
  for (const name of ['etc/a', 'usr/bin/b']) writeFileSync(at(name), name)
  const { changes } = await end(begin())
  assert.deepEqual(changes, [])
  assert.deepEqual(readdirSync(at('var/lib/vml/layer')), [])
  assert.equal(lstatSync(at('usr/bin/b')).nlink, 1)
})

const names = ['etc/a', 'etc/b', 'usr/bin/a', 'usr/bin/b', 'usr/share/a', 'usr/share/b']
const step = fc.record({
  kind: fc.constantFrom('replace', 'write', 'remove', 'rename', 'chmod', 'link'),
  name: fc.constantFrom(...names),
  other: fc.constantFrom(...names),
  text: fc.string({ maxLength: 4 }),
})

test('whatever is done, each file that differs is told, and its content before is had or said to be lost', async () => {
  await fc.assert(
    fc.asyncProperty(fc.subarray(names), fc.array(step, { maxLength: 12 }), async (first, steps) => {
      for (const name of [...names, 'var/lib/vml/layer']) rmSync(at(name), { recursive: true, force: true })
      for (const name of first) writeFileSync(at(name), `first ${name}`, { mode: 0o644 })
      const before = new Map(first.map((name) => [name, `first ${name}`]))
      const capture = begin()
      for (const each of steps) doStep(each)
      const { changes, content, lost } = await end(capture)
      const told = new Set(changes.map((change) => change.path.slice(1)))
      for (const name of names) {
        const now = existsSync(at(name)) ? readFileSync(at(name), 'utf8') : undefined
        if (now !== before.get(name)) assert.ok(told.has(name), `${name} is not told`)
        if (!told.has(name) || !before.has(name)) continue
        const had = content(`/${name}`)
        // What lies in /etc was copied.
        if (had === undefined && !name.startsWith('etc')) assert.match(lost(`/${name}`), /in place/)
        else assert.equal(had, before.get(name))
      }
    }),
    { numRuns: 60 },
  )
})

let made = 0
function doStep({ kind, name, other, text }: { kind: string; name: string; other: string; text: string }) {
  const there = existsSync(at(name))
  if (kind === 'replace') {
    writeFileSync(at(`usr/new-${++made}`), text)
    renameSync(at(`usr/new-${made}`), at(name))
  } else if (kind === 'write') appendFileSync(at(name), `${text}.`)
  else if (kind === 'remove') rmSync(at(name), { force: true })
  else if (kind === 'chmod' && there) chmodSync(at(name), 0o600)
  else if (kind === 'rename' && there) renameSync(at(name), at(other))
  else if (kind === 'link' && there && !existsSync(at(other))) linkSync(at(name), at(other))
}
