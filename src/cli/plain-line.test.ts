import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isFailure } from '../base/failure.ts'
import { commands } from './commands.ts'
import { globalOptions } from './global-options.ts'
import { parseArguments, type Parsed } from './parse.ts'
import { readPlainLine } from './plain-line.ts'

const parseByCommander = async (argv: readonly string[]): Promise<Parsed | 'refused'> => {
  try {
    return await parseArguments(argv, { version: '1', width: undefined })
  } catch (error) {
    if (isFailure(error, 'usage')) return 'refused'
    throw error
  }
}

/** Every verb with the flags that it takes, of all nouns too. */
async function allVerbs(): Promise<
  { readonly words: readonly string[]; readonly flags: readonly string[] }[]
> {
  const verbs: { words: readonly string[]; flags: readonly string[] }[] = []
  for (const entry of commands) {
    const loaded = await entry.load()
    const found =
      loaded.kind === 'verb'
        ? [{ words: [entry.name], command: loaded.command }]
        : await Promise.all(
            Object.entries(loaded.noun.verbs).map(async ([name, { load }]) => ({
              words: [entry.name, name],
              command: await load(),
            })),
          )
    for (const { words, command } of found)
      verbs.push({ words, flags: Object.values(command.options).map(({ flags }) => flags) })
  }
  return verbs
}

test('a line that is read without commander means what commander makes of it, for every verb', async () => {
  const verbs = await allVerbs()
  const globals = globalOptions.map(([flags]) => flags)
  const value = fc.constantFrom(
    'x',
    '42',
    'lab',
    '',
    '#1',
    'a b',
    'save',
    'list',
    '@latest',
    '1',
    '-',
    '-1',
    '--',
    '-x',
  )
  const option = (flags: readonly string[]) =>
    fc.constantFrom(...flags).chain((one) => {
      const names = one.match(/(?:^|(?<= ))--?[a-z-]+/gi) ?? []
      const name = fc.constantFrom(...names)
      if (!one.includes('<')) return name.map((word) => [word])
      return fc.oneof(
        fc.tuple(name, value).map((words) => [...words]),
        fc.tuple(name, value).map((words) => [words.join('=')]),
        name.map((word) => [word]),
      )
    })
  const anyLine = fc.constantFrom(...verbs).chain(({ words, flags }) => {
    const global = option(globals)
    const part = fc.oneof(
      global,
      ...(flags.length > 0 ? [{ weight: 3, arbitrary: option(flags) }] : []),
      { weight: 2, arbitrary: value.map((word) => [word]) },
      fc.constantFrom(['--help'], ['--'], ['-qv'], ['--unknown'], ['--js']),
    )
    const globalsFirst = fc.array(global, { maxLength: 2 })
    return fc
      .tuple(globalsFirst, fc.array(part, { maxLength: 5 }))
      .map(([first, last]) => [...first.flat(), ...words, ...last.flat()])
  })
  let plain = 0
  const numRuns = 3000
  await fc.assert(
    fc.asyncProperty(anyLine, async (argv) => {
      const quick = await readPlainLine(argv)
      if (quick === undefined) return
      plain++
      assert.deepEqual(quick, await parseByCommander(argv), JSON.stringify(argv))
    }),
    { numRuns },
  )
  assert.ok(plain > numRuns / 20, `${plain} lines were plain`)
})

test('the lines that people type most need no commander', async () => {
  for (const line of [
    'log',
    'log --json',
    'log lab -n 5 --no-safety',
    '--logbook /x log --tag a --tag b',
    'machine list',
    'status -q',
    'save lab -m title --include /etc',
    'ls 42:/home',
    '__complete -- log --mach',
  ])
    assert.ok(await readPlainLine(line.split(' ')), line)
  for (const line of ['', 'log --help', 'help', '--version', 'log --jsn', 'machine', 'nothing', 'log a b'])
    assert.equal(await readPlainLine(line.split(' ').filter(Boolean)), undefined, line)
})
