import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { tmpdir, userInfo } from 'node:os'
import { basename, join } from 'node:path'
import { after, before, test } from 'node:test'
import { makeElf } from '../../test/fixtures/elf-file.ts'
import { openMemory } from '../backend/memory.ts'
import { asRaw, rawFromString } from '../base/raw-text.ts'
import type { TreeId } from '../model/ids.ts'
import type { LibrariesDocument, LibraryNeed } from '../model/libraries.ts'
import { parseRawPath, type RawName, type RawPath } from '../model/raw-path.ts'
import type { TreeNode } from '../model/tree.ts'
import { openDpkg } from '../packages/dpkg.ts'
import { initRepository } from '../store/repository.ts'
import type { Repository } from '../store/store.ts'
import { openLocalShell } from '../wire/local-shell.ts'
import type { Shell } from '../wire/shell.ts'
import { findLibraryNeeds } from './library-needs.ts'
import { readLibraryFacts, readUserNames } from './machine-libraries.ts'
import { recordLibraries, reportVersions } from './version-report.ts'

const shell = openLocalShell()
let repository: Repository
before(async () => {
  repository = await initRepository({
    backend: openMemory(),
    keys: [{ password: Buffer.alloc(32, 1), cost: 'cheap', username: 'lab', hostname: 'lab' }],
  })
})
after(() => repository[Symbol.asyncDispose]())

test('what programs need is what the entry does not bring itself', async () => {
  const tree = await store({
    'home/lab/bin/fit': program(
      ['libbeside.so', 'libown.so.1', 'libenv.so', 'libc.so.6'],
      '$ORIGIN/../lib:/opt/fit',
    ),
    'home/lab/bin/libbeside.so': program(['libdeep.so']),
    'home/lab/lib/libown.so.1': { linkTarget: 'libown.so.1.2' },
    'home/lab/lib/libown.so.1.2': program([]),
    'home/lab/lib/libaway.so': { linkTarget: '/usr/lib/libaway.so' },
    'home/lab/env/libenv.so': program(['libaway.so'], '/home/lab/lib'),
    'home/lab/script': '#!/bin/sh\necho a script of more than fifty-two characters in all\n',
    '.vml/program': program(['libhidden.so']),
  })
  const environment = new Map([[asRaw('LD_LIBRARY_PATH'), rawFromString('/home/lab/env:relative')]])
  const { needs, complete, owners } = await findLibraryNeeds({ repository, tree, environment })
  assert.ok(complete)
  assert.deepEqual(
    needs.map(({ soname, neededBy }) => `${soname} by ${neededBy.join(' ')}`),
    [
      'libaway.so by /home/lab/env/libenv.so',
      'libc.so.6 by /home/lab/bin/fit',
      'libdeep.so by /home/lab/bin/libbeside.so',
    ],
  )
  assert.ok(needs[1]?.folders.includes(path('/opt/fit')))
  assert.equal(owners[0]?.uid, 1000)
})

test('a real program’s libraries are found as the linker finds them, with file, sum and package', async () => {
  const ssh = realpathSync('/usr/bin/ssh')
  const tree = await store({ 'home/lab/ssh': readFileSync(ssh) })
  const { needs } = await findLibraryNeeds({ repository, tree })
  const packages = await openDpkg().inventory(shell)
  const found = [...(await readLibraryFacts(shell, { needs, packages })).values()]
  const linked = new Map(
    Array.from(
      execFileSync('ldd', [ssh], { encoding: 'utf8' }).matchAll(/^\s(?:(\S+) => )?(\/\S+) \(/gm),
      ([, name, file = '']) => [name ?? basename(file), realpathSync(file)] as const,
    ),
  )
  assert.ok(found.length > 3)
  assert.deepEqual(
    found.map(({ soname }) => soname).toSorted(),
    needs.map(({ soname }) => soname),
  )
  for (const { soname, target, sha256, package: owner, packageVersion } of found) {
    assert.equal(target, linked.get(soname), soname)
    assert.equal(sha256, createHash('sha256').update(readFileSync(target)).digest('hex'))
    assert.ok(owner && packageVersion, soname)
    const files = execFileSync('dpkg-query', ['-L', owner], { encoding: 'utf8' })
    assert.ok(files.includes(basename(target)), `${owner} has ${target}`)
  }
})

test('a machine with nothing but busybox tells the same', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'vml-busybox-'))
  try {
    execFileSync('busybox', ['--install', '-s', folder])
    const bare: Shell = {
      ...shell,
      run: ({ argv, ...rest }) => shell.run({ ...rest, argv: ['env', `PATH=${folder}`, ...argv] }),
    }
    const needs = [need('libc.so.6'), need('libz.so.1'), need('libgone.so')]
    const told = await readLibraryFacts(bare, { needs })
    assert.equal(told.size, 2)
    assert.deepEqual(told, await readLibraryFacts(shell, { needs }))
    assert.ok([...told.values()].every((library) => library.package !== undefined))
    assert.deepEqual(await readUserNames(bare), await readUserNames(shell))
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('a library for another kind of machine does not meet a need, and odd names do no harm', async () => {
  const needs = [
    need('libc.so.6', { machine: 's390x' }),
    need('libc.so.6', { bits: 32, machine: 'i386' }),
    need('$(touch x);`id`\n.so', { folders: [path('/a b'), path("/'\n")] }),
    need('no such \xff.so'),
  ]
  assert.deepEqual([...(await readLibraryFacts(shell, { needs }))], [])
})

test('users are told by number, as the machine calls them', async () => {
  const users = await readUserNames(shell)
  assert.equal(users?.get(userInfo().uid), userInfo().username)
})

test('on the machine it was saved on the report finds nothing, and on another what differs', async () => {
  const tree = await store({ 'home/lab/ssh': readFileSync(realpathSync('/usr/bin/ssh')) })
  const packages = await openDpkg().inventory(shell)
  assert.ok(packages)
  const facts = { os: { PRETTY_NAME: 'Debian' }, kernel: '6.1', architecture: 'x86_64' }
  const libraries = await recordLibraries({ repository, tree, shell, packages })
  const mappedUids = new Set([1000])
  const entry = { repository, tree, facts, packages, libraries }
  const same = await reportVersions({ entry, machine: { shell, facts, packages, mappedUids } })
  assert.deepEqual(
    same.lines.filter(({ level }) => level === 'amber'),
    [],
  )

  // The same machine, but the entry remembers another C library, one that is gone, and other packages.
  const [first] = libraries.needs
  assert.ok(first)
  const other: LibrariesDocument = {
    complete: true,
    needs: [...libraries.needs, { ...first, soname: asRaw('libgone.so.3') }],
    libraries: libraries.libraries.map((library) =>
      library.soname === 'libc.so.6' ? { ...library, target: path('/lib/libc-2.28\x1b.so') } : library,
    ),
  }
  const report = await reportVersions({
    entry: {
      ...entry,
      facts: { ...facts, os: { PRETTY_NAME: 'Debian \x1b[31m' } },
      libraries: other,
      packages: { ...packages, packages: [{ name: 'fit', version: '1', architecture: 'all' }] },
    },
    machine: { shell, facts, packages },
  })
  const amber = report.lines.filter(({ level }) => level === 'amber')
  assert.equal(report.amber, amber.length)
  const text = amber.map((line) => `${line.topic}: ${line.text}`).join('\n')
  assert.match(text, /^os: System: saved on Debian \\x1b\[31m, this is Debian$/m)
  assert.match(text, /^library: Library libc\.so\.6: saved with libc-2\.28\\x1b\.so, here libc\.so\.6/m)
  assert.match(text, /^library: Library libgone\.so\.3: missing here .*needed by/m)
  assert.match(text, /^package: Packages: 1 missing: fit 1$/m)
  assert.match(text, /^user: User 1000: owner of 3 files, was "lab"/m)
})

function program(needed: readonly string[], runpath = ''): Buffer {
  return makeElf({ bits: 64, little: true, needed, soname: '', runpath })
}

function need(soname: string, change: Partial<LibraryNeed> = {}): LibraryNeed {
  const kind = { bits: 64, machine: 'x86-64' } as const
  return { soname: asRaw(soname), ...kind, folders: [], neededBy: [], programs: 1, ...change }
}

type Spec = Record<string, string | Buffer | { readonly linkTarget: string }>

/** Stores files by path; all are programs of user 1000. */
async function store(spec: Spec): Promise<TreeId> {
  await using writer = await repository.beginWrite()
  const common = { mode: 0o755, uid: 1000, gid: 1000, user: asRaw('lab'), mtimeNs: 0n }
  async function storeFolder(prefix: string): Promise<TreeId> {
    const names = new Set(
      Object.keys(spec).flatMap((key) =>
        key.startsWith(prefix) ? [key.slice(prefix.length).split('/')[0] ?? ''] : [],
      ),
    )
    const nodes: TreeNode[] = []
    for (const text of names) {
      const name = asRaw(text) as RawName
      const value = spec[prefix + text]
      if (value === undefined) {
        nodes.push({ ...common, name, type: 'dir', subtree: await storeFolder(`${prefix}${text}/`) })
      } else if (typeof value === 'object' && 'linkTarget' in value) {
        nodes.push({ ...common, name, type: 'symlink', linkTarget: asRaw(value.linkTarget) })
      } else {
        const sink = writer.openFile()
        await sink.write({ kind: 'data', bytes: Buffer.from(value) })
        const { content, size } = await sink.finish()
        nodes.push({ ...common, name, type: 'file', content, size })
      }
    }
    return await writer.storeTree(nodes)
  }
  return await storeFolder('')
}

function path(text: string): RawPath {
  const parsed = parseRawPath(asRaw(text))
  assert.ok(parsed)
  return parsed
}
