import assert from 'node:assert/strict'
import { test } from 'node:test'
import { rawFromString } from '../base/raw-text.ts'
import { parseRawPath, type RawPath, rootPath } from '../model/raw-path.ts'
import type { ChangeOwner, Fingerprint, RecordedChange } from '../model/transaction.ts'
import { maybeOf, whoseDiversions } from './maybe-kept.ts'
import type { ReadTransaction } from './transaction-entry.ts'

const at = (text: string): RawPath => parseRawPath(rawFromString(text)) ?? rootPath
const script: ChangeOwner = { kind: 'script' }
const of = (name: string): ChangeOwner => ({ kind: 'package', package: name })
const side = (type: Fingerprint['type'], linkTarget?: string): Fingerprint => ({
  ...{ type, mode: 0o755, uid: 0, gid: 0, mtimeNs: 0n },
  ...(linkTarget === undefined ? {} : { linkTarget: rawFromString(linkTarget) }),
})

function change(
  path: string,
  owner: ChangeOwner,
  sides: Pick<RecordedChange, 'before' | 'after'>,
): RecordedChange {
  return { path: at(path), owner, preImage: { kind: 'fingerprint' }, afterKept: false, ...sides }
}

function kept(changes: readonly RecordedChange[], staying: readonly string[] = ['svc']): readonly string[] {
  const document = { packages: [{ name: 'svc' }, { name: 'oth' }] }
  const around = {
    staying: new Set(staying),
    divertedByKept: new Set<ReadTransaction>(),
    databases: [at('/var/lib/dpkg')],
    isListed: (path: RawPath) => path === '/usr/share/oth',
  }
  const find = maybeOf(around, { document, changes } as unknown as ReadTransaction)
  return changes.filter((each) => find(each) === 'svc').map(({ path }) => path)
}

test('what no package owns and came with a package that stays may be of it, but not books, caches, and folders that packages list', () => {
  const made = { after: side('file') }
  const mine = [
    change('/etc/group', { kind: 'configuration' }, { before: side('file'), ...made }),
    change('/etc/svc', { kind: 'configuration' }, { after: side('dir') }),
    change('/etc/svc/key', { kind: 'configuration' }, made),
    change('/opt/old-key', script, { before: side('file') }),
  ]
  const others = [
    change('/usr/bin/oth', of('oth'), made),
    change('/usr/share/oth', script, { after: side('dir') }),
    change('/usr/share/old', script, { before: side('dir') }),
    change('/var/lib/dpkg/status', script, { before: side('file'), ...made }),
    change('/etc/ld.so.cache', { kind: 'configuration' }, { before: side('file'), ...made }),
    { ...change('/boot/x', script, made), preImage: { kind: 'regenerable', rule: 'x' } } as const,
  ]
  assert.deepEqual(
    kept([...mine, ...others]),
    mine.map(({ path }) => path),
  )
  assert.deepEqual(kept([...mine, ...others], []), [])
  assert.deepEqual(kept([...mine, ...others], ['another']), [])
})

test('a link that leads to what goes is of what goes, alternatives with their links', () => {
  const made = { after: side('file') }
  const link = (path: string, target: string) => change(path, script, { after: side('symlink', target) })
  const changes = [
    change('/usr/bin/oth', of('oth'), made),
    change('/usr/bin/svc', of('svc'), made),
    link('/etc/alternatives/tool', '/bin/oth'),
    link('/usr/bin/tool', '../../etc/alternatives/tool'),
    change('/var/lib/dpkg/alternatives/tool', script, made),
    link('/etc/alternatives/own', '/usr/bin/svc'),
    change('/var/lib/dpkg/alternatives/own', script, made),
    link('/etc/round', '/etc/round'),
  ]
  assert.deepEqual(kept(changes), ['/etc/alternatives/own', '/var/lib/dpkg/alternatives/own', '/etc/round'])
})

test('diversions are of the packages that set them', () => {
  const of = (...names: readonly string[]) =>
    names.map((name) => `/usr/bin/${name}\n/usr/bin/${name}.distrib\n${name}\n`).join('')
  const whose = (before: string, after: string) => whoseDiversions(before, after, new Set(['svc']))
  assert.equal(whose(of('dash', 'svc'), of('svc', 'dash')), 'none')
  assert.equal(whose(of('dash'), of('dash', 'svc')), 'kept')
  assert.equal(whose(of('dash', 'oth'), of('dash')), 'others')
  assert.equal(whose(of('oth', 'dash'), of('dash', 'svc')), 'both')
})
