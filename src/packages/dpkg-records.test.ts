import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PackageRecord } from '../model/package-record.ts'
import { packageRecords, versionKey, type DpkgState } from './dpkg-records.ts'
import { transitionOf } from './package-transitions.ts'

interface Given {
  readonly version: string
  readonly state?: string
  readonly architecture?: string
  readonly more?: string
  readonly automatic?: boolean
}

function state(packages: Readonly<Record<string, Given>>): DpkgState {
  const all = Object.entries(packages)
  return {
    status: all
      .map(
        ([name, { version, state: now = 'installed', architecture = 'amd64', more = '' }]) =>
          `Package: ${name}\nStatus: install ok ${now}\nArchitecture: ${architecture}\nVersion: ${version}\n${more}\n`,
      )
      .join(''),
    extendedStates: all
      .filter(([, { automatic }]) => automatic)
      .map(([name]) => `Package: ${name}\nArchitecture: amd64\nAuto-Installed: 1\n\n`)
      .join(''),
  }
}

function fates(before: DpkgState, after: DpkgState): Record<string, string> {
  return Object.fromEntries(packageRecords({ before, after }).map(({ name, fate }) => [name, fate]))
}

test('what became of each package is told; what is as it was is not', () => {
  assert.deepEqual(
    fates(
      state({
        same: { version: '1' },
        newer: { version: '1.9' },
        older: { version: '2' },
        rest: { version: '1' },
        gone: { version: '1' },
        purged: { version: '1', state: 'config-files' },
        marked: { version: '1' },
        again: { version: '1', more: 'Conffiles:\n /etc/a d41d8cd98f00b204e9800998ecf8427e\n' },
        broken: { version: '1' },
        known: { version: '1', state: 'not-installed' },
      }),
      state({
        same: { version: '1' },
        newer: { version: '1.10' },
        older: { version: '2~rc1' },
        rest: { version: '1', state: 'config-files' },
        marked: { version: '1', automatic: true },
        again: { version: '1', more: 'Conffiles:\n /etc/a e41d8cd98f00b204e9800998ecf8427e\n' },
        broken: { version: '1', state: 'half-configured' },
        fresh: { version: '1' },
      }),
    ),
    {
      again: 'reconfigured',
      broken: 'reconfigured',
      fresh: 'installed',
      gone: 'purged',
      marked: 'marked',
      newer: 'upgraded',
      older: 'downgraded',
      purged: 'purged',
      rest: 'removed',
    },
  )
})

test('a version has its source, its component, its mark and its origin', () => {
  const origin = { sources: [{ address: 'http://archive/debian' }], sha256: 'a'.repeat(64), sizeBytes: 7 }
  const [record] = packageRecords({
    before: state({}),
    after: state({
      a: { version: '2-1+b1', more: 'Source: b (2-1)\nSection: contrib/net\n', automatic: true },
    }),
    origins: new Map([[versionKey('a', 'amd64', '2-1+b1'), origin]]),
  })
  assert.deepEqual(record, {
    name: 'a',
    architecture: 'amd64',
    fate: 'installed',
    after: {
      version: '2-1+b1',
      state: 'installed',
      source: { name: 'b', version: '2-1' },
      section: 'contrib/net',
      component: 'contrib',
      automatic: true,
      origin,
    },
    reasons: [],
  })
})

test('a package for all architectures has the mark that apt keeps under the machine’s own', () => {
  const [record] = packageRecords({
    before: state({}),
    after: state({ a: { version: '1', architecture: 'all', automatic: true } }),
  })
  assert.equal(record?.after?.automatic, true)
})

test('why a package came is who of the others needs it, by its name or by what it provides', () => {
  const records = packageRecords({
    before: state({ old: { version: '1', more: 'Depends: lib\n' } }),
    after: state({
      old: { version: '1', more: 'Depends: lib\n' },
      tool: { version: '1', more: 'Depends: lib (>= 2) | other, mail-agent\nSuggests: extra\n' },
      lib: { version: '2' },
      postfix: { version: '3', more: 'Provides: mail-agent\n' },
      extra: { version: '1' },
    }),
  })
  assert.deepEqual(reasons(records, 'lib'), ['tool Depends lib (>= 2) | other'])
  assert.deepEqual(reasons(records, 'postfix'), ['tool Depends mail-agent'])
  assert.deepEqual(reasons(records, 'extra'), [])
  assert.deepEqual(reasons(records, 'tool'), [])
})

test('why a package went is what it needed that went or changed, and what came and does not bear it', () => {
  const records = packageRecords({
    before: state({
      tool: { version: '1', more: 'Depends: lib (<< 2), gone, kept\n' },
      lib: { version: '1' },
      gone: { version: '1' },
      kept: { version: '1' },
      rival: { version: '1', more: 'Provides: mail-agent\n' },
    }),
    after: state({
      lib: { version: '2', more: 'Breaks: tool (<< 2)\n' },
      kept: { version: '1.1' },
      postfix: { version: '3', more: 'Conflicts: mail-agent\n' },
    }),
  })
  assert.deepEqual(
    reasons(records, 'tool').toSorted((one, other) => (one < other ? -1 : 1)),
    ['gone Depends gone', 'lib Breaks tool (<< 2)', 'lib Depends lib (<< 2)'],
  )
  assert.deepEqual(reasons(records, 'rival'), ['postfix Conflicts mail-agent'])
})

function reasons(records: readonly PackageRecord[], name: string): string[] {
  const found = records.find((record) => record.name === name)
  assert.ok(found)
  return found.reasons.map(({ package: by, field, relation }) => `${by} ${field} ${relation}`)
}

test('the short form of a record has versions of what is installed alone, and who needs it', () => {
  const source = {
    address: 'http://a/debian',
    label: 'Debian',
    archive: 'stable',
    component: 'main',
    site: 'a',
  }
  const origins = new Map([
    [versionKey('lib', 'amd64', '2'), { sources: [source, { address: 'file:/srv' }] }],
  ])
  const records = packageRecords({
    before: state({ lib: { version: '1', state: 'config-files' }, old: { version: '3' } }),
    after: state({
      lib: { version: '2', automatic: true, more: 'Section: libs\nSource: base\n' },
      old: { version: '3', state: 'config-files' },
      tool: { version: '1', more: 'Depends: lib\nPre-Depends: lib (>= 1)\n' },
    }),
    origins,
  })
  assert.deepEqual(records.map(transitionOf), [
    {
      name: 'lib',
      architecture: 'amd64',
      fate: 'installed',
      to: '2',
      automatic: true,
      neededBy: ['tool'],
      origin: 'Debian stable/main (a), file:/srv',
      section: 'libs',
      source: 'base=2',
    },
    { name: 'old', architecture: 'amd64', fate: 'removed', from: '3', automatic: false, source: 'old=3' },
    { name: 'tool', architecture: 'amd64', fate: 'installed', to: '1', automatic: false, source: 'tool=1' },
  ])
})
