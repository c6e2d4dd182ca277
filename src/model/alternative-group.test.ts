import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import * as fc from 'fast-check'
import { asRaw } from '../base/raw-text.ts'
import { mergeAlternativeGroup } from './alternative-group.ts'
import { formatAlternative, parseAlternative } from './alternative.ts'

let root = ''
before(() => {
  root = mkdtempSync(join(tmpdir(), 'vml-alternatives-'))
  for (const folder of ['alternatives', 'admin', 'bin', 'man', 'choices']) mkdirSync(join(root, folder))
  for (const choice of ['a', 'b', 'c', 'd']) writeFileSync(join(root, 'choices', choice), '')
  for (const choice of ['a', 'b', 'c']) writeFileSync(join(root, 'choices', `${choice}.1`), '')
})
after(() => rmSync(root, { recursive: true, force: true }))

interface State {
  readonly file: string | undefined
  /** Of the three folders of links. */
  readonly links: Readonly<Record<string, string>>
}
type Operation = readonly [
  what: 'install' | 'with-slave' | 'remove' | 'set' | 'auto',
  choice: string,
  priority: number,
]

const folders = ['alternatives', 'bin', 'man']
const operations = (choices: readonly string[], maxLength: number) =>
  fc.array(
    fc.tuple(
      fc.constantFrom('install', 'with-slave', 'remove', 'set', 'auto'),
      fc.constantFrom(...choices),
      fc.nat(3),
    ),
    { minLength: 1, maxLength },
  )

test('without k the group and its links are as update-alternatives makes them where k never ran', () => {
  let mergedCount = 0
  fc.assert(
    fc.property(
      operations(['a', 'b', 'c', 'd'], 3),
      operations(['a', 'b'], 3),
      operations(['c', 'd'], 3),
      (first, k, j) => {
        const zero = run({ file: undefined, links: {} }, first)
        const one = run(zero, k)
        const two = run(one, j)
        // What leaves no trace cannot be known: `auto` where k had said it, and a choice that goes and comes again.
        fc.pre(!(one.file?.startsWith('manual') !== true && j.some(([what]) => what === 'auto')))
        fc.pre(!j.some(([what, choice]) => what === 'remove' && two.file?.includes(`/choices/${choice}\n`)))
        const truth = run(zero, j)
        const outcome = mergeAlternativeGroup(
          {
            name: 'x',
            files: { base: raw(one.file), ours: raw(two.file), theirs: raw(zero.file) },
            targets: {
              base: raw(one.links['alternatives/x']),
              ours: raw(two.links['alternatives/x']),
              theirs: raw(zero.links['alternatives/x']),
            },
          },
          (path) => !path.endsWith('/d.1'),
        )
        if (outcome.kind === 'conflict') return
        const links: Record<string, string> = { ...two.links }
        for (const { path, target } of outcome.links) {
          const at = inRoot(path)
          if (target === undefined) delete links[at]
          else links[at] = target.replace('/etc/alternatives', join(root, 'alternatives'))
        }
        mergedCount++
        assert.equal(outcome.file, truth.file)
        assert.deepEqual(links, truth.links)
      },
    ),
    { numRuns: 16 },
  )
  assert.ok(mergedCount > 5, `${mergedCount} of 16 were merged`)
})

test('a choice made by hand later stays, and is a conflict where k brought it', () => {
  const group = (status: string, ...choices: string[]) =>
    asRaw(`${status}\n/bin/x\n\n${choices.map((choice) => `/${choice}\n5\n`).join('')}\n`)
  const files = {
    base: group('manual', 'a', 'k'),
    ours: group('manual', 'a', 'k'),
    theirs: group('auto', 'a'),
  }
  const chosen = (ours: string) => ({ base: asRaw('/k'), ours: asRaw(ours), theirs: asRaw('/a') })
  const later = mergeAlternativeGroup({ name: 'x', files, targets: chosen('/a') }, () => true)
  assert.ok(later.kind === 'merged')
  assert.equal(later.file, group('manual', 'a'))
  const ofK = { ...files, base: group('auto', 'a', 'k') }
  const gone = mergeAlternativeGroup({ name: 'x', files: ofK, targets: chosen('/k') }, () => true)
  assert.deepEqual(gone, { kind: 'conflict', keys: [] })
  // k chose it, nobody later did.
  const back = mergeAlternativeGroup({ name: 'x', files, targets: chosen('/k') }, () => true)
  assert.ok(back.kind === 'merged')
  assert.deepEqual(back.links, [
    { path: '/etc/alternatives/x', target: '/a' },
    { path: '/bin/x', target: '/etc/alternatives/x' },
  ])
})

test('of choices of one priority the one that is chosen stays', () => {
  const group = (...choices: string[]) =>
    asRaw(`auto\n/bin/x\n\n${choices.map((choice) => `/${choice}\n5\n`).join('')}\n`)
  const files = { base: group('b', 'k'), ours: group('a', 'b', 'k'), theirs: group('b') }
  const targets = { base: asRaw('/b'), ours: asRaw('/b'), theirs: asRaw('/b') }
  const outcome = mergeAlternativeGroup({ name: 'x', files, targets }, () => true)
  assert.ok(outcome.kind === 'merged')
  assert.deepEqual(outcome.links[0], { path: '/etc/alternatives/x', target: '/b' })
})

test('what is no file of update-alternatives is told, and what is one is written as it was read', () => {
  for (const broken of [
    '',
    'auto\n',
    'auto\n/bin/x\n',
    'auto\n/bin/x\n\n/a\nx\n\n',
    'auto\n/bin/x\n\n/a\n',
    'odd\n/bin/x\n\n\n',
  ])
    assert.equal(parseAlternative(broken), undefined, JSON.stringify(broken))
  const whole = 'manual\n/bin/x\nx.1\n/man/x.1\n\n/a\n-5\n/a.1\n/b\n7\n\n\n'
  const group = parseAlternative(whole)
  assert.ok(group !== undefined)
  assert.equal(formatAlternative(group), whole)
  fc.assert(
    fc.property(fc.array(fc.constantFrom('auto', '/a', '5', '', 'x'), { maxLength: 12 }), (lines) => {
      const read = parseAlternative(lines.join('\n'))
      if (read !== undefined) assert.equal(formatAlternative(read), lines.join('\n'))
    }),
    { numRuns: 500 },
  )
})

/** By the real program, in folders of our own, from one state into the next. */
function run(state: State, list: readonly Operation[]): State {
  for (const folder of [...folders, 'admin']) {
    rmSync(join(root, folder), { recursive: true })
    mkdirSync(join(root, folder))
  }
  if (state.file !== undefined) writeFileSync(join(root, 'admin/x'), state.file)
  for (const [path, target] of Object.entries(state.links)) symlinkSync(target, join(root, path))
  for (const [what, choice, priority] of list) {
    const path = join(root, 'choices', choice)
    // No two choices are of one priority: which of them is chosen then depends on the order of all that ever happened.
    const distinct = priority * 4 + ['a', 'b', 'c', 'd'].indexOf(choice)
    const install = ['--install', join(root, 'bin/x'), 'x', path, String(distinct)]
    const slave = ['--slave', join(root, 'man/x.1'), 'x.1', `${path}.1`]
    const asked = {
      install,
      'with-slave': [...install, ...slave],
      remove: ['--remove', 'x', path],
      set: ['--set', 'x', path],
      auto: ['--auto', 'x'],
    }
    const places = [
      '--altdir',
      join(root, 'alternatives'),
      '--admindir',
      join(root, 'admin'),
      '--log',
      '/dev/null',
    ]
    // It fails where there is nothing to remove or to choose, and then changes nothing.
    const { error } = spawnSync('update-alternatives', ['--quiet', ...places, ...asked[what]], {
      stdio: 'ignore',
    })
    assert.equal(error, undefined)
  }
  return look()
}

function look(): State {
  const links: Record<string, string> = {}
  for (const folder of folders)
    for (const name of readdirSync(join(root, folder)))
      links[`${folder}/${name}`] = readlinkSync(join(root, folder, name))
  const file = readdirSync(join(root, 'admin')).includes('x')
    ? readFileSync(join(root, 'admin/x'), 'latin1')
    : undefined
  return { file, links }
}

function inRoot(path: string): string {
  return path.startsWith('/etc/') ? path.slice('/etc/'.length) : path.slice(root.length + 1)
}

function raw(text: string | undefined) {
  return text === undefined ? undefined : asRaw(text)
}
