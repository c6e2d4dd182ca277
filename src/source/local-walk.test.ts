import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { rawFromString } from '../base/raw-text.ts'
import { type RawPath, rootPath } from '../model/raw-path.ts'
import type { Attributes } from '../model/tree.ts'
import type { ListedPath } from '../wire/folder-reader.ts'
import { openLocalShell } from '../wire/local-shell.ts'
import { listedIn } from './listed-path.fixture.ts'
import { openLocalSource } from './local-source.ts'
import { openShellSource } from './shell-source.ts'
import type { ScanRecord, ScanRequest, Source } from './source.ts'

interface Found {
  /** By path; what was told twice is counted twice. */
  readonly items: readonly (readonly [RawPath, Attributes])[]
  readonly others: readonly string[]
  readonly taken: number
}

/** Everything that a scan tells, in whichever way, in one form. */
async function look(source: Source, request: ScanRequest, sinks: boolean): Promise<Found> {
  const items: (readonly [RawPath, Attributes])[] = []
  const others: string[] = []
  let folder = rootPath
  let taken = 0
  const sink = {
    enter(path: RawPath) {
      assert.ok(
        items.some(([known]) => known === path),
        'a folder comes before what is in it',
      )
      folder = path
    },
    add(path: ListedPath) {
      taken++
      items.push(listedIn(folder, path))
    },
  }
  const told = (record: ScanRecord) => {
    if (record.kind === 'item') {
      const { atimeNs: _atime, user: _user, group: _group, ...attributes } = record.attributes
      items.push([record.path, attributes])
    } else if (record.kind === 'mount') others.push(`mount ${record.type} ${record.path}`)
    else others.push(`${record.problem} ${record.path} ${record.message}`)
  }
  for await (const record of source.scan(sinks ? { ...request, sink } : request)) told(record)
  return {
    items: items.toSorted(([left], [right]) => (left < right ? -1 : 1)),
    others: others.toSorted(),
    taken,
  }
}

/** This host as it lists itself, which must be what `find` tells, into columns and as records. */
async function lookEveryWay(
  request: ScanRequest,
  { local, plain }: { readonly local: Source; readonly plain: Source },
): Promise<Found> {
  const expected = await look(plain, request, false)
  const found = await look(local, request, true)
  assert.deepEqual({ ...(await look(plain, request, true)), taken: found.taken }, found)
  assert.deepEqual(found.items, expected.items)
  assert.deepEqual(found.others, expected.others)
  return found
}

async function withTree(
  script: string,
  run: (folder: RawPath, sources: { local: Source; plain: Source }) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'vml-local-walk-'))
  try {
    execFileSync('bash', ['-ec', script], { cwd: folder })
    await using shell = openLocalShell()
    await using plain = await openShellSource(shell)
    await run(rawFromString(folder) as RawPath, { plain, local: openLocalSource(plain, tmpdir()) })
  } finally {
    execFileSync('chmod', ['-R', 'u+rwX', folder])
    rmSync(folder, { recursive: true, force: true })
  }
}

const at = (folder: RawPath, path: string): RawPath => `${folder}/${path}` as RawPath

test('what this process lists itself is what find lists, to the bit: kinds, names of any bytes, times of any age, links and modes', async () => {
  await withTree(
    String.raw`
      mkdir -p a/b empty 'with space'; echo text > a/f; ln a/f a/b/g; truncate -s 5G a/big
      touch -d '1901-12-14 01:02:03.000000004' a/old; touch -d '2200-01-01 00:00:00.999999999' a/far
      touch -d '@0' a/b/epoch; touch -d '1970-01-01 00:00:00.5' a/half; touch -d '@-0.5' a/before
      ln -s nowhere link; ln -s "$(printf 'x%.0s' $(seq 200))" a/long; ln -s empty folder-link; mkfifo pipe
      chmod 7751 a/b; chmod 0 a/f; touch $'new\nline' $'\xff\xfe' '*?[\' .hidden ..two
      python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
      for n in $(seq 3000); do echo > "with space/name-that-is-not-so-short-$n"; done`,
    async (folder, { local, plain }) => {
      const found = await lookEveryWay({ roots: [folder] }, { local, plain })
      assert.ok(found.taken > 3000)
    },
  )
})

test('what is left out is listed and not entered, a root inside another one comes once, a missing root is told', async () => {
  await withTree(
    'mkdir -p keep/deep never/below c; echo x > never/below/f; echo x > keep/deep/f; echo x > c/f; echo x > file',
    async (folder, { local, plain }) => {
      const request = {
        roots: [folder, at(folder, 'keep/deep'), `${folder}-none` as RawPath, at(folder, 'file')],
        prune: [at(folder, 'never'), at(folder, 'c/f')],
      }
      const found = await lookEveryWay(request, { local, plain })
      assert.match(found.others.join(), /^vanished .*-none /)
      assert.equal(
        found.items.some(([path]) => path.includes('below')),
        false,
      )
    },
  )
})

test('folders below more than a hundred others are listed as well, with all that is in them', async () => {
  await withTree(
    String.raw`
      deep=$(printf 'd%.0s/' $(seq 130)); mkdir -p "$deep" "side/$deep"; echo x > "$deep/f"; echo x > "side/$deep/g"
      chmod 0 "$(printf 'd%.0s/' $(seq 120))"`,
    async (folder, { local, plain }) => {
      const found = await lookEveryWay({ roots: [folder] }, { local, plain })
      assert.ok(found.items.length > 250)
    },
  )
})

test('another file system is listed by its folder, with its kind, and not entered', async () => {
  const roots = [rootPath]
  await using shell = openLocalShell()
  await using plain = await openShellSource(shell)
  const local = openLocalSource(plain, tmpdir())
  // Of the root, only the folders of file systems: what lies in the others is left out.
  const prune = execFileSync('find', ['/', '-maxdepth', '1', '-mindepth', '1', '-type', 'd', '-xdev'], {
    encoding: 'latin1',
  })
    .split('\n')
    .filter((path) => path !== '' && path !== '/run' && path !== '/dev') as RawPath[]
  const expected = await look(plain, { roots, prune }, false)
  const found = await look(local, { roots, prune }, true)
  assert.deepEqual(found.others.toSorted(), expected.others.toSorted())
  assert.ok(found.others.some((other) => other.startsWith('mount ')))
  assert.deepEqual(
    found.items.map(([path]) => path),
    expected.items.map(([path]) => path),
  )
})
