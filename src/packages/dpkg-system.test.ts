import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { rawFromString } from '../base/raw-text.ts'
import { parseRawPath, rootPath } from '../model/raw-path.ts'
import { openLocalShell } from '../wire/local-shell.ts'
import { dpkgSystem } from './dpkg-system.ts'

const pathOf = (text: string) => parseRawPath(rawFromString(text)) ?? rootPath
const status = (version: string) =>
  `Package: tool\nStatus: install ok installed\nArchitecture: all\nVersion: ${version}\nMaintainer: \xfc\n\n`

test('what dpkg said before a change is known to who records it after a crash', async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'vml-dpkg-system-'))
  context.after(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'var/lib/dpkg/status')
  mkdirSync(join(dirname(file), 'info'), { recursive: true })
  const host = { shell: openLocalShell(), root: pathOf(folder), state: pathOf(folder) }
  assert.equal(await dpkgSystem.read({ ...host, root: pathOf(join(folder, 'none')) }), undefined)
  writeFileSync(file, status('1'), 'latin1')
  const before = await dpkgSystem.read(host)
  assert.ok(before)
  await dpkgSystem.keep(host, before, pathOf(join(folder, 'kept')))
  writeFileSync(file, status('2'), 'latin1')
  const [kept, now] = [
    await dpkgSystem.readKept(host, pathOf(join(folder, 'kept'))),
    await dpkgSystem.read(host),
  ]
  assert.ok(kept && now)
  assert.deepEqual(kept.state, before.state)
  assert.deepEqual(
    dpkgSystem.transitions(kept, now).map(({ name, fate, from, to }) => [name, fate, from, to]),
    [['tool', 'upgraded', '1', '2']],
  )
})
