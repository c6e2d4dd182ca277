// What apt-get and dpkg print, as it was seen with apt 2.6 and dpkg 1.21.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isFailure } from '../base/failure.ts'
import { parseBroken, parseErrors, parseSimulation } from './apt-answers.ts'
import { describeBroken } from './broken-dependency.ts'
import { type Consistency, unfinishedPackages } from './dpkg-oracle.ts'
import { parseVerified, unexpected } from './dpkg-proof.ts'

test('dependencies that are not kept are read with all their alternatives', () => {
  const broken = parseBroken(`Reading package lists...
You might want to run 'apt --fix-broken install' to correct these.
The following packages have unmet dependencies:
 python3-flask-login : Depends: python3-flask (>= 1.0.4) but it is not installed
 vim : Depends: libgpm2 (>= 1.20.7) but it is not installed or
                libgpm3 but 1:2-3 is installed
       Conflicts: nano
       Breaks: emacs:i386 (< 2) but 1 is to be installed
 empty : PreDepends: virtual
E: Unmet dependencies. Try 'apt --fix-broken install' with no packages (or specify a solution).
`)
  assert.deepEqual(broken, [
    {
      package: 'python3-flask-login',
      relation: 'Depends',
      alternatives: [{ name: 'python3-flask', constraint: '>= 1.0.4' }],
    },
    {
      package: 'vim',
      relation: 'Depends',
      alternatives: [
        { name: 'libgpm2', constraint: '>= 1.20.7' },
        { name: 'libgpm3', installed: '1:2-3' },
      ],
    },
    { package: 'vim', relation: 'Conflicts', alternatives: [{ name: 'nano' }] },
    {
      package: 'vim',
      relation: 'Breaks',
      alternatives: [{ name: 'emacs:i386', constraint: '< 2', installed: '1' }],
    },
    { package: 'empty', relation: 'PreDepends', alternatives: [{ name: 'virtual' }] },
  ])
  assert.deepEqual(broken.slice(0, 2).map(describeBroken), [
    'python3-flask-login : Depends: python3-flask (>= 1.0.4), which is not installed',
    'vim : Depends: libgpm2 (>= 1.20.7) | libgpm3, which is installed as 1:2-3',
  ])
  assert.deepEqual(parseBroken('E: Unable to locate package x\n'), [])
})

test('the steps of a simulation are read', () => {
  assert.deepEqual(
    parseSimulation(`NOTE: This is only a simulation!
Remv libssl-dev [3.0.20-1] [a b ]
Purg python3-flask [1]
Inst libssl3 [3.0.20-1] (3.0.17-1~deb12u3 Debian:12.12/oldstable, Debian-Security:12/oldstable-security [amd64]) []
Inst new:i386 (2 localhost [i386])
Conf libssl3 (3.0.17-1~deb12u3 Debian:12.12/oldstable [amd64])
`),
    [
      { action: 'remove', package: 'libssl-dev', from: '3.0.20-1' },
      { action: 'purge', package: 'python3-flask', from: '1' },
      { action: 'install', package: 'libssl3', from: '3.0.20-1', to: '3.0.17-1~deb12u3' },
      { action: 'install', package: 'new:i386', to: '2' },
      { action: 'configure', package: 'libssl3', to: '3.0.17-1~deb12u3' },
    ],
  )
})

test('an answer in another form is refused, and errors are told as apt tells them', () => {
  for (const text of ['Inst $(x)\n', 'Remv a [1] (2\n'])
    assert.throws(
      () => parseSimulation(text),
      (error: unknown) => isFailure(error, 'remote.protocol'),
    )
  for (const line of [' a : Depends: ??', '  Depends: x', ' a : x'])
    assert.throws(
      () => parseBroken(`The following packages have unmet dependencies:\n${line}\n`),
      (error: unknown) => isFailure(error, 'remote.protocol'),
    )
  assert.deepEqual(parseErrors("W: x\nE: Version '3' for 'a' was not found\n"), [
    "Version '3' for 'a' was not found",
  ])
})

test('packages that dpkg left half done are told with their state', () => {
  const status = [
    ['a', 'install ok installed'],
    ['b', 'deinstall ok config-files'],
    ['c', 'install ok half-configured'],
    ['d', 'install reinstreq installed'],
    ['e', 'install ok triggers-pending'],
  ].map(([name, state]) => `Package: ${name}\nStatus: ${state}\nDescription: x\n Status: not this\n\n`)
  assert.deepEqual(unfinishedPackages(status.join('')), [
    { name: 'c', state: 'half-configured' },
    { name: 'd', state: 'reinst-required' },
    { name: 'e', state: 'triggers-pending' },
  ])
})

test('what dpkg verified is read, and judged by what was expected', () => {
  const differences = parseVerified(
    '??5?????? c /etc/a (b).conf\nmissing     /usr/x (Not a directory)\nmissing   c /etc/gone\n?M5??????   /usr/bin/link\n.M.......   /usr/fifo\n',
  )
  assert.deepEqual(differences, [
    { path: '/etc/a (b).conf', configuration: true, difference: 'changed' },
    { path: '/usr/x', configuration: false, difference: 'missing' },
    { path: '/etc/gone', configuration: true, difference: 'missing' },
    { path: '/usr/bin/link', configuration: false, difference: 'changed' },
    { path: '/usr/fifo', configuration: false, difference: 'changed' },
  ])
  const proof = { audit: [], consistency: { consistent: true }, differences } as const
  assert.equal(
    unexpected(proof, () => true),
    undefined,
  )
  assert.deepEqual(unexpected(proof, ({ configuration }) => configuration)?.differences, [
    differences[1],
    ...differences.slice(3),
  ])
  assert.ok(unexpected({ ...proof, audit: ['x'] }, () => true))
  assert.ok(
    unexpected({ ...proof, consistency: { consistent: false, broken: [], sentences: [] } }, () => true),
  )
  assert.throws(
    () => parseVerified('what\n'),
    (error: unknown) => isFailure(error, 'remote.protocol'),
  )
})

test('what the plan itself leaves half done is as it was to be; another state, package or fault of it is not', () => {
  const kinds = {
    unpacked: 'The following packages have been unpacked but not yet configured.\nThey must be configured:',
    'half-configured': 'The following packages are only half configured, probably due to problems',
    'half-installed': 'The following packages are only half installed, due to problems during',
    'triggers-awaited': 'The following packages are awaiting processing of triggers that they',
    'triggers-pending': 'The following packages have been triggered, but the trigger processing',
    'reinst-required': 'The following packages are in a mess due to serious problems during',
    list: 'The following packages are missing the list control file in the',
  }
  const judged = (kind: keyof typeof kinds, state: string, name = 'lib:amd64') =>
    unexpected(
      {
        audit: [...kinds[kind].split('\n'), ` ${name}   a package`],
        consistency: { consistent: true },
        differences: [],
      },
      () => true,
      undefined,
      [{ name: 'lib', state }],
    )?.sentences
  for (const kind of Object.keys(kinds) as (keyof typeof kinds)[]) {
    assert.equal(judged(kind, kind)?.length, kind === 'list' ? 1 : undefined, kind)
    assert.equal(judged(kind, 'reinst-required')?.length, kind === 'list' ? 1 : undefined, kind)
    assert.equal(judged(kind, 'installed')?.length, 1, kind)
    assert.equal(judged(kind, kind, 'other')?.length, 1, kind)
  }
  assert.equal(judged('half-configured', 'unpacked')?.length, 1)
})

test('what dpkg and apt said of packages before, too, is not made worse; anything new is', () => {
  const half = [
    'The following packages are only half configured, probably due to problems',
    'configuring them:',
  ]
  const gone = ['The following packages are missing the list control file:']
  const need = (name: string) => ({ package: name, relation: 'Depends', alternatives: [{ name: 'lib' }] })
  const inconsistent = (...names: readonly string[]) =>
    ({ consistent: false, broken: names.map(need), sentences: ['Unmet dependencies'] }) as const
  const consistent = { consistent: true } as const
  const judged = (
    [wasAudit, was]: readonly [readonly string[], Consistency],
    [audit, is]: readonly [readonly string[], Consistency],
  ) =>
    unexpected({ audit, consistency: is, differences: [] }, () => true, { audit: wasAudit, consistency: was })
      ?.sentences
  const broken = [...half, ' brk   a package']
  assert.equal(judged([broken, consistent], [[...half, ' brk   of another version'], consistent]), undefined)
  assert.deepEqual(judged([[], consistent], [broken, consistent]), [`${half[0]}: brk`])
  assert.deepEqual(judged([broken, consistent], [[...broken, ' joe   a package'], consistent]), [
    `${half[0]}: joe`,
  ])
  assert.deepEqual(judged([broken, consistent], [[...broken, ...gone, ' brk   a package'], consistent]), [
    `${gone[0]}: brk`,
  ])
  assert.deepEqual(judged([[], consistent], [['what else'], consistent]), ['what else'])
  assert.equal(judged([[], inconsistent('a', 'b')], [[], inconsistent('b')]), undefined)
  assert.deepEqual(judged([[], consistent], [[], inconsistent('b')]), ['Unmet dependencies'])
  assert.deepEqual(judged([[], inconsistent('a')], [[], inconsistent('a', 'b')]), [
    'b : Depends: lib, which is not installed',
  ])
})
