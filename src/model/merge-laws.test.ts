import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { asRaw, rawFromString } from '../base/raw-text.ts'
import { formatAlternative, parseAlternative } from './alternative.ts'
import { isMergedByMeaning, mergeFile } from './merge.ts'
import type { MergeSides } from './merge-outcome.ts'
import { parseRawPath, type RawPath } from './raw-path.ts'

/** A kind of file as a map of names and values, written and read by other code than the mergers'. */
interface Kind {
  readonly path: string
  readonly write: (records: readonly (readonly [string, string])[]) => string
  readonly read: (text: string) => readonly (readonly [string, string])[]
}

function blocks(path: string, block: (key: string, value: string) => string, pattern: RegExp): Kind {
  return {
    path,
    write: (records) => records.map(([key, value]) => block(key, value)).join(''),
    read: (text) => [...text.matchAll(pattern)].map(([, key = '', value = '']) => [key, value]),
  }
}

const kinds: readonly Kind[] = [
  blocks(
    '/var/lib/dpkg/status',
    (key, value) =>
      `Package: ${key}\nStatus: install ok installed\nArchitecture: amd64\nVersion: ${value}\n\n`,
    /Package: (.*)\nStatus: install ok installed\nArchitecture: amd64\nVersion: (.*)\n\n/g,
  ),
  blocks(
    '/var/lib/apt/extended_states',
    (key, value) => `Package: ${key}\nArchitecture: amd64\nAuto-Installed: ${value}\n\n`,
    /Package: (.*)\nArchitecture: amd64\nAuto-Installed: (.*)\n\n/g,
  ),
  blocks(
    '/var/cache/debconf/config.dat',
    (key, value) => `Name: ${key}\nTemplate: t\nValue: ${value}\nOwners: a, b\nFlags: seen\n\n`,
    /Name: (.*)\nTemplate: t\nValue: (.*)\nOwners: a, b\nFlags: seen\n\n/g,
  ),
  blocks(
    '/var/lib/dpkg/diversions',
    (key, value) => `/${key}\n/${key}.real\n${value}\n`,
    /\/(.*)\n.*\n(.*)\n/g,
  ),
  blocks(
    '/var/lib/dpkg/statoverride',
    (key, value) => `root root ${value} /x/${key}\n`,
    /root root (.*) \/x\/(.*)\n/g,
  ),
  blocks('/var/lib/ucf/hashfile', (key, value) => `${value}  /etc/${key}\n`, /(.*) {2}\/etc\/(.*)\n/g),
  blocks('/etc/passwd', (key, value) => `${key}:x:${uid(key)}:0::/:${value}\n`, /(.*?):.*:(.*)\n/g),
  blocks('/etc/shadow', (key, value) => `${key}:*:${value}:0:99999:7:::\n`, /(.*?):\*:(.*?):.*\n/g),
  blocks('/etc/group', (key, value) => `${key}:${value}:${uid(key)}:a,b\n`, /(.*?):(.*?):.*\n/g),
  blocks('/etc/subuid', (key, value) => `${key}:${uid(key)}0000:${value}\n`, /(.*?):.*?:(.*)\n/g),
  blocks('/etc/systemd/x.conf', (key, value) => `${key}=${value}\n`, /(.*)=(.*)\n/g),
  {
    path: '/var/lib/dpkg/alternatives/x',
    write: (records) =>
      records.length === 0
        ? ''
        : formatAlternative({
            status: 'auto',
            link: '/usr/bin/x',
            slaves: [{ name: 'x.1', link: '/usr/share/man/x.1' }],
            choices: records.map(([key, value]) => ({
              path: `/bin/${key}`,
              priority: Number(value),
              slaves: [`/${key}.1`],
            })),
          }),
    read: (text) =>
      parseAlternative(text)?.choices.map(({ path, priority }) => [path.slice(5), String(priority)]) ?? [],
  },
]
/** Of these, the value stands first. */
const valueFirst = new Set(['/var/lib/dpkg/statoverride', '/var/lib/ucf/hashfile'])

const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']
const value = fc.constantFrom('1', '2', '3', '4')
const states = fc
  .dictionary(fc.constantFrom(...names), value, { maxKeys: 8 })
  .map((state) => new Map(Object.entries(state)))
type State = ReadonlyMap<string, string>
/** Undefined: taken out. */
const edits = (of: readonly string[]) =>
  fc.uniqueArray(fc.tuple(fc.constantFrom(...of), fc.option(value, { nil: undefined })), {
    maxLength: 5,
    selector: ([key]) => key,
  })

for (const kind of kinds) {
  test(`${kind.path}: what k did goes, what came later stays, and what both changed is named`, () => {
    fc.assert(
      fc.property(states, edits(names), edits(names), (before, byK, later) => {
        const after = edited(before, byK)
        const now = edited(after, later)
        const outcome = merge(kind, { base: after, ours: now, theirs: before })
        const { expected, conflicts } = model(after, now, before)
        if (outcome.kind === 'merged') {
          assert.deepEqual(conflicts, [])
          assert.deepEqual(sorted(readFile(kind, outcome.bytes)), sorted(expected))
        } else {
          assert.equal(outcome.keys.length, conflicts.length)
          const partial = outcome.partial ?? file(kind, now)
          assert.deepEqual(sorted(readFile(kind, partial)), sorted(expected))
        }
      }),
      { numRuns: 150 },
    )
  })

  test(`${kind.path}: undoing k and then j, or j and then k, on different names leaves what was there before both`, () => {
    fc.assert(
      fc.property(states, edits(['a', 'c', 'e', 'g']), edits(['b', 'd', 'f', 'h']), (before, byK, byJ) => {
        const [s0, s1] = [before, edited(before, byK)]
        const s2 = edited(s1, byJ)
        const [zero, one, two] = [s0, s1, s2].map((state) => file(kind, state))
        const withoutK = merged(kind, { base: one, ours: two, theirs: zero })
        const kThenJ = merged(kind, { base: two, ours: withoutK, theirs: one })
        const withoutJ = merged(kind, { base: two, ours: two, theirs: one })
        const jThenK = merged(kind, { base: one, ours: withoutJ, theirs: zero })
        assert.deepEqual(inOrder(kind, kThenJ), inOrder(kind, jThenK))
        assert.deepEqual(inOrder(kind, kThenJ), inOrder(kind, zero))
        // And the chain in which k never ran.
        assert.deepEqual(inOrder(kind, withoutK), inOrder(kind, file(kind, edited(s0, byJ))))
        // An undo is undone as any transaction is.
        assert.deepEqual(text(merged(kind, { base: withoutK, ours: withoutK, theirs: two })), text(two))
      }),
      { numRuns: 150 },
    )
  })
}

const paths = [
  ...kinds.map(({ path }) => path),
  ...['/var/cache/debconf/templates.dat', '/var/lib/dpkg/triggers/Unincorp', '/etc/shells', '/etc/gshadow'],
  ...['/etc/x.conf', '/etc/ssh/sshd_config', '/etc/x.json', '/usr/bin/x', '/var/lib/dpkg/info/x.list'],
].map(pathOf)
const lines = fc.array(
  fc.constantFrom(
    ...[
      'Package: a',
      'Version: 1',
      'Name: x',
      ' a = b',
      '',
      'Owners: a, b',
      'Variables:',
      'a:x:1:b',
      'a::1:2:',
    ],
    ...[
      '[s]',
      'k=v',
      'k=w',
      ' cont',
      '# c',
      'auto',
      '/usr/bin/x',
      '5',
      '\r',
      '\xef\xbb\xbfk=v',
      '\xff\xfe',
      'k = v\\',
    ],
  ),
  { maxLength: 12 },
)
const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array)),
  fc
    .tuple(lines, fc.constantFrom('\n', '\r\n', '\n\n'), fc.boolean())
    .map(([list, end, last]) => Buffer.from(list.join(end) + (last ? end : ''), 'latin1')),
)
const side = fc.option(bytes, { nil: undefined })

test('where nothing came later the result is what was before k, and where k did nothing it is what is now', () => {
  fc.assert(
    fc.property(fc.constantFrom(...paths), side, side, (path, one, other) => {
      assert.deepEqual(mergeFile(path, { base: one, ours: one, theirs: other }), {
        kind: 'merged',
        bytes: other,
      })
      assert.deepEqual(mergeFile(path, { base: one, ours: other, theirs: one }), {
        kind: 'merged',
        bytes: other,
      })
      assert.deepEqual(mergeFile(path, { base: one, ours: other, theirs: other }), {
        kind: 'merged',
        bytes: other,
      })
    }),
    { numRuns: 500 },
  )
})

test('any bytes are merged or a conflict, and a merged text has each line that was added later', () => {
  fc.assert(
    fc.property(fc.constantFrom(...paths), side, side, side, (path, base, ours, theirs) => {
      const outcome = mergeFile(path, { base, ours, theirs })
      if (outcome.kind === 'conflict' || ours === undefined) return
      if (outcome.bytes === undefined) return assert.ok(theirs === undefined || path.includes('alternatives'))
      const there = new Set((base?.toString('latin1') ?? '').split('\n').map(content))
      const result = outcome.bytes.toString('latin1')
      if (!/^\/etc\/(?:x\.conf|ssh|shells)/.test(path)) return
      for (const line of ours.toString('latin1').split('\n').map(content))
        assert.ok(
          there.has(line) || result.includes(line),
          `${JSON.stringify(line)} in ${JSON.stringify(result)}`,
        )
    }),
    { numRuns: 4000 },
  )
})

test('a file that went later stays away, and one that k made and somebody changed is left to a person', () => {
  const [base, theirs] = [Buffer.from('new\n'), Buffer.from('old\n')]
  assert.deepEqual(mergeFile(pathOf('/usr/bin/x'), { base, ours: undefined, theirs }), {
    kind: 'merged',
    bytes: undefined,
  })
  const changed = mergeFile(pathOf('/etc/x'), { base, ours: Buffer.from('mine\n'), theirs: undefined })
  assert.deepEqual(changed, { kind: 'conflict', reason: 'both-changed', keys: [], lines: [] })
})

test('two versions of a program are never mixed, whatever their lines say', () => {
  const at = (first: string, last: string) => Buffer.from(`${first}\na\nb\nc\nd\n${last}\n`)
  const sides = { base: at('2', 'x'), ours: at('2', 'y'), theirs: at('1', 'x') }
  assert.equal(mergeFile(pathOf('/usr/lib/python3/x.py'), sides).kind, 'conflict')
  assert.equal(mergeFile(pathOf('/etc/x.json'), sides).kind, 'conflict')
  assert.deepEqual(mergeFile(pathOf('/etc/x'), sides), { kind: 'merged', bytes: at('1', 'y') })
  assert.ok(!isMergedByMeaning(pathOf('/usr/lib/python3/x.py')) && isMergedByMeaning(pathOf('/etc/x')))
})

test('files of newlines alone take no more time than others', () => {
  const newlines = (count: number) => Buffer.from(`${'\n'.repeat(count)}x`)
  for (const path of paths) {
    // A stanza is what stands between blank lines: none of these is one.
    const count = /dpkg\/status|debconf|extended/.test(path) ? 200_000 : 5000
    const sides = { base: newlines(count), ours: newlines(count + 1), theirs: newlines(count - 1) }
    assert.ok(['merged', 'conflict'].includes(mergeFile(path, sides).kind))
  }
})

test('binary content and content above the limit are conflicts', () => {
  const sides = (middle: string) => ({
    base: Buffer.from(`a\n${middle}\nb\n`),
    ours: Buffer.from(`a\n${middle}\nc\n`),
    theirs: Buffer.from(`d\n${middle}\nb\n`),
  })
  assert.equal(mergeFile(pathOf('/etc/x'), sides('x')).kind, 'merged')
  assert.equal(mergeFile(pathOf('/etc/x'), sides('\0')).kind, 'conflict')
  const large = mergeFile(pathOf('/etc/x'), {
    ...sides('x'),
    theirs: Buffer.alloc(96 * 1024 * 1024 + 1, 'x'),
  })
  assert.ok(large.kind === 'conflict' && large.reason === 'too-large')
})

function merge(kind: Kind, { base, ours, theirs }: { base: State; ours: State; theirs: State }) {
  return mergeFile(pathOf(kind.path), {
    base: file(kind, base),
    ours: file(kind, ours),
    theirs: file(kind, theirs),
  })
}

function merged(kind: Kind, sides: MergeSides<Buffer>): Buffer | undefined {
  const outcome = mergeFile(pathOf(kind.path), sides)
  assert.ok(outcome.kind === 'merged', JSON.stringify(outcome))
  return outcome.bytes
}

/** A group of alternatives without choices has no file. */
function file(kind: Kind, state: State): Buffer | undefined {
  const records = kind.write([...state].sort(([left], [right]) => (left < right ? -1 : 1)))
  return records === '' && kind.path.includes('alternatives') ? undefined : Buffer.from(records)
}

function readFile(kind: Kind, content: Buffer | undefined): [string, string][] {
  return kind
    .read((content ?? '').toString())
    .map(([one, two]) => (valueFirst.has(kind.path) ? [two, one] : [one, two]))
}

function edited(state: State, changes: readonly (readonly [string, string | undefined])[]): State {
  const result = new Map(state)
  for (const [key, to] of changes) {
    if (to === undefined) result.delete(key)
    else result.set(key, to)
  }
  return result
}

function model(
  base: State,
  ours: State,
  theirs: State,
): { expected: [string, string][]; conflicts: string[] } {
  const expected: [string, string][] = []
  const conflicts: string[] = []
  for (const key of new Set([...ours.keys(), ...theirs.keys()])) {
    const [b, o, t] = [base.get(key), ours.get(key), theirs.get(key)]
    const kept = o === b ? t : o
    if (o !== b && t !== b && o !== t && o !== undefined) conflicts.push(key)
    if (kept !== undefined) expected.push([key, kept])
  }
  return { expected, conflicts }
}

function sorted(records: readonly [string, string][]): [string, string][] {
  return [...records].sort(([left], [right]) => (left < right ? -1 : 1))
}

/** What people write has no order of its own: where two neighbours come back one after the other, nothing tells which was first. */
function inOrder(kind: Kind, content: Buffer | undefined): string | undefined {
  const whole = text(content)
  return kind.path.startsWith('/etc/systemd/') ? whole?.split('\n').sort().join('\n') : whole
}

function content(line: string): string {
  return line.replace(/\r$/, '')
}

function text(content: Buffer | undefined): string | undefined {
  return content?.toString('latin1')
}

function uid(key: string): number {
  return key.charCodeAt(0)
}

function pathOf(path: string): RawPath {
  const parsed = parseRawPath(asRaw(rawFromString(path)))
  assert.ok(parsed !== undefined)
  return parsed
}
