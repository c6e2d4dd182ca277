// Keeps the documentation honest: commands that it shows parse, links lead somewhere, files that it names are there.
import assert from 'node:assert/strict'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { messageOf } from '../src/base/failure.ts'
import { commands } from '../src/cli/commands.ts'
import { parseArguments } from '../src/cli/parse.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

interface Page {
  readonly name: string
  readonly text: string
}

const pages: readonly Page[] = globSync(
  ['*.md', 'docs/*.md', 'docs/guide/*.md', 'changes/*.md', 'tools/**/*.md'],
  { cwd: root },
)
  .toSorted()
  .map((name) => ({ name, text: readFileSync(join(root, name), 'utf8') }))

/** The decisions tell what was so when they were made. */
const current = pages.filter(({ name }) => name !== 'docs/decisions.md')

interface Shown {
  readonly page: string
  readonly line: string
  readonly words: readonly string[]
  /** In running text, where operands may be left out. */
  readonly inText: boolean
}

test('every command that is shown is one, with options that it knows', async () => {
  const shown = current.flatMap(commandsOf)
  assert.ok(shown.length > 50, `only ${shown.length} commands were found`)
  const wrong: string[] = []
  for (const { page, line, words, inText } of shown) {
    const problem = await problemOf(words)
    if (problem === undefined || (inText && isIncomplete(problem))) continue
    wrong.push(`${page}: ${line}\n  ${problem}`)
  }
  assert.deepEqual(wrong, [])
})

test('every example of --help can be typed', async () => {
  const wrong: string[] = []
  let count = 0
  for (const { name, load } of commands) {
    const loaded = await load()
    const all =
      loaded.kind === 'verb'
        ? [loaded.command]
        : await Promise.all(Object.values(loaded.noun.verbs).map(async (verb) => await verb.load()))
    const ofNoun = loaded.kind === 'verb' ? [] : (loaded.noun.examples ?? [])
    for (const { line } of [...ofNoun, ...all.flatMap((command) => command.examples)]) {
      for (const words of callsIn(line)) {
        count++
        const problem = await problemOf(words)
        if (problem !== undefined) wrong.push(`${name}: ${line}\n  ${problem}`)
      }
    }
  }
  assert.ok(count >= 3 * commands.length - 6, `only ${count} examples were read`)
  assert.deepEqual(wrong, [])
})

test('every verb stands in the README', () => {
  const readme = pages.find(({ name }) => name === 'README.md')?.text ?? ''
  const missing = commands
    .filter(({ hidden, name }) => hidden !== true && !new RegExp(`\\b${name}\\b`).test(readme))
    .map(({ name }) => name)
  assert.deepEqual(missing, [])
})

test('every link leads to a file, and to a heading in it', () => {
  const broken: string[] = []
  for (const { name, text } of pages) {
    for (const [, target = ''] of withoutFences(text).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue
      const [path = '', anchor] = target.split('#')
      const file = path === '' ? name : relative(root, join(root, dirname(name), path))
      if (!existsSync(join(root, file))) broken.push(`${name}: ${target}`)
      else if (anchor !== undefined && !headingsOf(readFileSync(join(root, file), 'utf8')).has(anchor))
        broken.push(`${name}: ${target} has no such heading`)
    }
  }
  assert.deepEqual(broken, [])
})

test('every file of this repository that a page names is there', () => {
  const named = current.flatMap(({ name, text }) =>
    [...text.matchAll(/`((?:src|test|docs|tools|bench)\/[\w./-]+)`/g)].map(([, path = '']) => ({
      name,
      path,
    })),
  )
  assert.ok(named.length > 20)
  const missing = named.filter(({ path }) => !existsSync(join(root, path)))
  assert.deepEqual(missing, [])
})

/** In text a command may stand without its operands, an option without its value. */
function isIncomplete(problem: string): boolean {
  return /^missing required argument|argument missing/i.test(problem)
}

/** What the program would say to these words, before it does anything; undefined where it takes them. */
async function problemOf(words: readonly string[]): Promise<string | undefined> {
  try {
    await parseArguments(words, { version: '0', width: undefined })
    return undefined
  } catch (error) {
    return messageOf(error)
  }
}

function commandsOf({ name, text }: Page): Shown[] {
  const shown: Shown[] = []
  const take = (line: string, inText: boolean) => {
    for (const words of callsIn(line)) shown.push({ page: name, line, words, inText })
  }
  for (const [, language = '', body = ''] of text.matchAll(/^```(\w*)\n([^]*?)^```/gm)) {
    for (const line of body.split('\n')) {
      if (language === 'console' && line.startsWith('$ ')) take(line.slice(2), false)
      if (language === 'sh') take(line, false)
    }
  }
  for (const [, code = ''] of withoutFences(text).matchAll(/`([^`\n]+)`/g))
    if (/^(?:\.\/)?vml [a-z-]/.test(code)) take(code, true)
  return shown
}

function withoutFences(text: string): string {
  return text.replaceAll(/^```[^]*?^```/gm, '')
}

/** The arguments of each call of vml in a line of a shell. */
function callsIn(line: string): string[][] {
  return [...line.matchAll(/(?:^|[\s(;])(?:\.\/)?vml (?=\S)/g)].map((match) =>
    wordsOf(line.slice(match.index + match[0].length)),
  )
}

/** Words with their quotes taken off, up to what ends a simple command. */
function wordsOf(line: string): string[] {
  const words: string[] = []
  const token = /\s*(?:([|<>;&)]|#)|((?:'[^']*'|"[^"]*"|[^\s|<>;&)'"])+))/gy
  for (const [, end, word = ''] of line.matchAll(token)) {
    if (end !== undefined) break
    words.push(
      word.replaceAll(
        /'([^']*)'|"([^"]*)"/g,
        (_, single?: string, double?: string) => single ?? double ?? '',
      ),
    )
  }
  return words
}

/** As GitHub names them. */
function headingsOf(text: string): Set<string> {
  const titles = [...withoutFences(text).matchAll(/^#+ (.+)$/gm)].map(([, title = '']) => title)
  return new Set(
    titles.map((title) =>
      title
        .toLowerCase()
        .replaceAll(/[^\p{Letter}\p{Number}\s_-]/gu, '')
        .replaceAll(/\s/g, '-'),
    ),
  )
}
