import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { asRaw, rawFromString } from '../base/raw-text.ts'
import type { EntryId } from '../model/ids.ts'
import { parseRawPath, type RawPath, rootPath } from '../model/raw-path.ts'
import { parseChanges } from '../model/transaction-record.ts'
import type { PathChange } from '../model/transaction.ts'
import { encodeIntended, readIntent, replaceIntent, writeIntent } from './commit-intent.ts'
import { openFolder } from './workplace.ts'

function withFolder(run: (place: { state: typeof rootPath }) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'vml-intent-'))
  try {
    const place = { state: parseRawPath(rawFromString(folder)) ?? rootPath }
    mkdirSync(openFolder(place), { recursive: true })
    run(place)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test('what an undo takes back is known to who records it after a crash', () => {
  withFolder((place) => {
    const intent = {
      exitStatus: 3,
      takesBack: ['ab'.repeat(32) as EntryId],
    }
    writeIntent(place, intent)
    assert.deepEqual(readIntent(place), intent)
  })
})

test('of an undo that stood its proof that is known, too, with all that was written before', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'vml-intent-'))
  try {
    const place = { state: parseRawPath(rawFromString(folder)) ?? rootPath }
    mkdirSync(openFolder(place), { recursive: true })
    const intent = { exitStatus: 0, takesBack: ['ab'.repeat(32) as EntryId] }
    writeIntent(place, intent, [])
    const proven = {
      ...intent,
      isProven: true,
      validations: [{ name: 'paths', outcome: 'passed' as const, message: '2 compared with the plan' }],
    }
    await replaceIntent(place, proven)
    assert.deepEqual(readIntent(place), proven)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('what is to be made anew is written down as rules and paths, and no command is read', () => {
  withFolder((place) => {
    const toMakeAnew = ['/boot/initrd.img-6.1.0', '/etc/ld\xff.so.cache'].map((path) => ({
      rule: 'initrd',
      path: asRaw(path) as RawPath,
    }))
    writeIntent(place, {
      exitStatus: 0,
      toMakeAnew: toMakeAnew.map((each) => ({ ...each, argv: ['reboot'], required: true })),
    })
    const file = join(openFolder(place), 'result.json')
    assert.doesNotMatch(readFileSync(file, 'utf8'), /reboot/)
    assert.deepEqual(readIntent(place), { exitStatus: 0, toMakeAnew })
    writeFileSync(
      file,
      '{"exitStatus": 0, "toMakeAnew": [{"rule": "initrd", "path": "/boot/x", "argv": ["reboot"]}]}',
    )
    assert.deepEqual(readIntent(place).toMakeAnew, [{ rule: 'initrd', path: '/boot/x' }])
    for (const bad of [
      '{"rule": "sh -c", "path": "/x"}',
      '{"rule": "initrd", "path": "x/../y"}',
      '"ldconfig"',
    ]) {
      writeFileSync(file, `{"exitStatus": 0, "toMakeAnew": [${bad}]}`)
      assert.deepEqual(readIntent(place), { exitStatus: 0 })
    }
  })
})

test('a change of the machine is recorded even where what was written about it cannot be read', () => {
  withFolder((place) => {
    assert.deepEqual(readIntent(place), { exitStatus: 0 })
    writeFileSync(join(openFolder(place), 'result.json'), '{"exitStatus": 1, "takesBack": ["no id"]}')
    assert.deepEqual(readIntent(place), { exitStatus: 0 })
    writeFileSync(join(openFolder(place), 'result.json'), '{"exitSt')
    assert.deepEqual(readIntent(place), { exitStatus: 0 })
  })
})

test('whose a path was that goes is written down before the commit: afterwards no list of a package tells it', () => {
  const folder = { type: 'dir', mode: 0o755, uid: 0, gid: 0, mtimeNs: 0n } as const
  const [gone, stays] = ['/usr/lib/gone', '/usr/lib/stays'].map(
    (path) => parseRawPath(rawFromString(path)) ?? rootPath,
  )
  assert.ok(gone && stays)
  const changes: PathChange[] = [
    { path: gone, before: folder },
    { path: stays, before: folder, after: { ...folder, mode: 0o700 } },
  ]
  const written = parseChanges(encodeIntended(changes, () => ({ kind: 'package', package: 'joe' })))
  assert.deepEqual(
    written.map(({ owner }) => owner),
    [{ kind: 'package', package: 'joe' }, { kind: 'script' }],
  )
})
