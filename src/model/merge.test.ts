import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { asRaw } from '../base/raw-text.ts'
import { mergeFile } from './merge.ts'
import { parseRawPath } from './raw-path.ts'

/** A way to write blocks, with code of its own to read in which one a line stands. */
interface Syntax {
  readonly path: string
  readonly open: (name: string) => string
  readonly close?: string
  readonly indent: string
  readonly setting: (key: string, value: string) => string
}

const syntaxes: readonly Syntax[] = [
  { path: '/etc/shares.conf', open: (name) => `[${name}]`, indent: '', setting: (k, v) => `${k}=${v}` },
  {
    path: '/etc/samba/smb.conf',
    open: (name) => `[${name}]`,
    indent: '   ',
    setting: (k, v) => `${k} = ${v}`,
  },
  {
    path: '/etc/ssh/sshd_config',
    open: (name) => `Match User ${name}`,
    indent: '',
    setting: (k, v) => `${k} ${v}`,
  },
  {
    path: '/etc/ssh/ssh_config',
    open: (name) => `Host ${name}`,
    indent: '  ',
    setting: (k, v) => `${k} ${v}`,
  },
  {
    path: '/etc/apache2/x.conf',
    open: (n) => `<Directory /${n}>`,
    close: '</Directory>',
    indent: '',
    setting: (k, v) => `${k} ${v}`,
  },
  {
    path: '/etc/nginx/nginx.conf',
    open: (name) => `server_${name} {`,
    close: '}',
    indent: '',
    setting: (k, v) => `${k} ${v};`,
  },
  { path: '/etc/netplan/x.yaml', open: (name) => `${name}:`, indent: '  ', setting: (k, v) => `${k}: ${v}` },
]

interface Edit {
  readonly what: string
  readonly block: number
  readonly at: number
  readonly key: string
  readonly value: string
}

interface Block {
  readonly name: string
  readonly settings: readonly (readonly [string, string])[]
}

/** Names come again, as `[Peer]` does; values of a hand are its own. */
const blocksBy = (hand: string) =>
  fc.array(
    fc.record({
      name: fc.constantFrom('a', 'b', 'c'),
      settings: fc.array(fc.tuple(fc.constantFrom('k', 'l', 'm'), fc.constantFrom('1', '2', `of-${hand}`)), {
        maxLength: 4,
      }),
    }),
    { maxLength: 4 },
  )

/** Blocks or settings taken out, put in, or changed. */
const editsBy = (hand: string) =>
  fc.array(
    fc.record({
      what: fc.constantFrom('insert', 'append', 'drop', 'change', 'block', 'drop-block', 'rename'),
      block: fc.nat(3),
      at: fc.nat(4),
      key: fc.constantFrom('k', 'l', 'n'),
      value: fc.uuid().map((id) => `${hand}-${id.slice(0, 8)}`),
    }),
    { minLength: 1, maxLength: 2 },
  )

for (const syntax of syntaxes) {
  test(`${syntax.path}: no line that was written later changes its block by a merge, and none is lost`, () => {
    let mergedCount = 0
    fc.assert(
      fc.property(blocksBy('first'), editsBy('k'), editsBy('later'), (before, byK, later) => {
        const after = edited(before, byK)
        const now = edited(after, later)
        const outcome = mergeFile(pathOf(syntax.path), {
          base: written(syntax, after),
          ours: written(syntax, now),
          theirs: written(syntax, before),
        })
        if (outcome.kind === 'conflict') return
        mergedCount++
        const result = readBlocks(syntax, String(outcome.bytes))
        for (const [setting, block] of readBlocks(syntax, String(written(syntax, now))))
          if (setting.includes('later-')) assert.equal(result.get(setting), block, setting)
      }),
      { numRuns: 1500 },
    )
    assert.ok(mergedCount > 100, `${mergedCount} of 1500 were merged`)
  })

  test(`${syntax.path}: what was written later far from what k wrote is merged`, () => {
    const keys = ['p', 'q', 'r', 's']
    const block = (name: string): Block => ({ name, settings: keys.map((key) => [key, name]) })
    const before = ['a', 'b', 'c'].map(block)
    const withLater = (blocks: readonly Block[]) =>
      blocks.map((one) =>
        one.name === 'b' ? { ...one, settings: [...one.settings, ['t', 'later'] as const] } : one,
      )
    const byK = [
      before.map((one) => ({ ...one, settings: [['o', 'k'] as const, ...one.settings] })),
      before.map((one) => ({ ...one, settings: one.settings.filter(([key]) => key !== 'q') })),
      [block('k'), ...before],
      [...before, block('k')],
      before.filter(({ name }) => name !== 'a'),
    ]
    for (const after of byK)
      assert.deepEqual(
        mergeFile(pathOf(syntax.path), {
          base: written(syntax, after),
          ours: written(syntax, withLater(after)),
          theirs: written(syntax, before),
        }),
        { kind: 'merged', bytes: written(syntax, withLater(before)) },
      )
  })
}

test('a setting below a section that goes is a conflict: it would open what it was to close', () => {
  const file = (...lines: string[]) => Buffer.from(lines.map((line) => `${line}\n`).join(''))
  const cases = [
    ['/etc/x.conf', ['[home]', 'guest ok = no'], ['[public]', 'path=/srv/pub'], 'guest ok = yes'],
    [
      '/etc/login.conf',
      ['PasswordAuthentication no'],
      ['Match User guest', 'X11Forwarding no'],
      'PasswordAuthentication yes',
    ],
    ['/etc/x.conf', ['[main]', 'a=1'], ['[new]'], 'y=2'],
    ['/etc/wireguard/wg0.conf', ['[Peer]', 'Key=1'], ['[Peer]', 'Key=2'], 'AllowedIPs=::/0'],
    ['/etc/hostapd/x.conf', ['interface=a', 'ssid=home', 'wpa=2'], ['bss=b', 'ssid=guest'], 'ignore=1'],
  ] as const
  for (const [path, before, byK, later] of cases)
    assert.equal(
      mergeFile(pathOf(path), {
        base: file(...before, ...byK),
        ours: file(...before, ...byK, later),
        theirs: file(...before),
      }).kind,
      'conflict',
      later,
    )
})

test('a setting stays in doubt where k renamed its section, or divided it in two', () => {
  const file = (header: string, inserted: string, last: string) =>
    Buffer.from(`${header}\na=1\nb=1\n${inserted}c=1\nd=1\ne=1\nf=${last}\n`)
  const merged = (base: Buffer, ours: Buffer, theirs: Buffer) =>
    mergeFile(pathOf('/etc/x.conf'), { base, ours, theirs })
  const renamed = merged(file('[new]', '', '1'), file('[new]', '', '2'), file('[old]', '', '1'))
  assert.equal(renamed.kind, 'conflict')
  const divided = merged(file('[x]', '[x]\n', '1'), file('[x]', '[x]\n', '2'), file('[x]', '', '1'))
  assert.equal(divided.kind, 'conflict')
})

function edited(blocks: readonly Block[], edits: readonly Edit[]): Block[] {
  let result = [...blocks]
  for (const { what, block: at, at: place, key, value } of edits) {
    const block = result[at]
    if (what === 'block') result.splice(at, 0, { name: value, settings: [[key, value]] })
    if (block === undefined) continue
    const settings = [...block.settings]
    if (what === 'insert') settings.splice(place, 0, [key, value])
    if (what === 'append') settings.push([key, value])
    if (what === 'drop') settings.splice(place, 1)
    if (what === 'change' && settings.length > place) settings.splice(place, 1, [key, value])
    const changed = { name: what === 'rename' ? value : block.name, settings }
    result = result.flatMap((one) => (one !== block ? [one] : what === 'drop-block' ? [] : [changed]))
  }
  return result
}

function written({ open, close, indent, setting }: Syntax, blocks: readonly Block[]): Buffer {
  const lines = blocks.flatMap(({ name, settings }) => [
    open(name),
    ...settings.map(([key, value]) => `${indent}${setting(key, value)}`),
    ...(close === undefined ? [] : [close]),
  ])
  return Buffer.from(lines.map((line) => `${line}\n`).join(''))
}

/** Each line with the names of the blocks above it that are not closed. */
function readBlocks({ open, close }: Syntax, text: string): Map<string, string> {
  const [before = '', after = ''] = open('\0').split('\0')
  const found = new Map<string, string>()
  let inside: string[] = []
  for (const line of text.split('\n')) {
    const isOpen = line.startsWith(before) && line.endsWith(after) && /^\S/.test(line) && line !== close
    if (isOpen && !isSetting(line)) inside = close === undefined ? [line] : [...inside, line]
    else if (line === close) inside.pop()
    else found.set(line.trim(), inside.join(' '))
  }
  return found
}

function isSetting(line: string): boolean {
  return /^\s*[klmn]\b/.test(line)
}

function pathOf(path: string) {
  const parsed = parseRawPath(asRaw(path))
  assert.ok(parsed !== undefined)
  return parsed
}
