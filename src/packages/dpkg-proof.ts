// After packages were changed past dpkg: what dpkg and apt themselves say of the result, and what of it was not expected.
import { VmlError } from '../base/failure.ts'
import { asRaw, printable, printableText, rawFromBytes } from '../base/raw-text.ts'
import { parseRawPath, type RawPath } from '../model/raw-path.ts'
import { commandBytesMax } from '../wire/quote.ts'
import type { Shell } from '../wire/shell.ts'
import { type BrokenDependency, describeBroken } from './broken-dependency.ts'
import { checkStatus, type Consistency, type UnfinishedPackage } from './dpkg-oracle.ts'
import { lines } from './package-records.ts'
import type { PackageCondition } from './package-system.ts'

export interface VerifiedPath {
  readonly path: RawPath
  readonly configuration: boolean
  /** `missing`: it is not there, or cannot be read. `changed`: its content is not the package's. */
  readonly difference: 'missing' | 'changed'
}

export interface DpkgProof extends PackageCondition {
  readonly differences: readonly VerifiedPath[]
}

/** `dpkg --verify` reads every file of the packages; the largest one takes seconds for each GiB. */
const idleTimeoutMs = 600_000
const outputBytesMax = 64 * 1024 * 1024
const differencesMax = 1_000_000
/** Half of what one command may have: names are at most 128 bytes each. */
const wordsBytesMax = commandBytesMax / 2

/** Changes nothing. `packages` as dpkg names them (`libc6:amd64` where there are several), and installed. */
export async function proveDpkg(
  shell: Shell,
  { packages, signal }: { readonly packages: readonly string[]; readonly signal?: AbortSignal | undefined },
): Promise<DpkgProof> {
  const audit = await auditDpkg(shell, signal)
  const consistency = await checkStatus(shell, { signal })
  return { audit, consistency, differences: await verifyDpkg(shell, { packages, signal }) }
}

/** Changes nothing. */
export async function verifyDpkg(
  shell: Shell,
  { packages, signal }: { readonly packages: readonly string[]; readonly signal?: AbortSignal | undefined },
): Promise<readonly VerifiedPath[]> {
  const differences: VerifiedPath[] = []
  for (const some of batches(packages))
    differences.push(...parseVerified(await ask(shell, ['--verify', '--', ...some], signal)))
  return differences
}

/** Changes nothing. */
export async function auditDpkg(shell: Shell, signal: AbortSignal | undefined): Promise<readonly string[]> {
  const audit = await ask(shell, ['--audit'], signal)
  return [...lines(audit)].filter((line) => line !== '' && !isPreface(line)).map(printableText)
}

/**
 * By what makes two of them the same one: sentences that name their package. dpkg's query.c, audit(): each kind has some lines of text, then a line that is
 * moved in for each package, with its name and what it is.
 */
export function problemsOf(
  audit: readonly string[],
): ReadonlyMap<string, { readonly name: string; readonly sentence: string }> {
  const found = new Map<string, { name: string; sentence: string }>()
  let kind: string[] = []
  let isTold = true
  const tell = (name: string) => {
    const sentence = `${kind[0] ?? 'dpkg finds it wrong'}${name === '' ? '' : `: ${name}`}`
    found.set([name, ...kind].join('\n'), { name, sentence })
    isTold = true
  }
  for (const line of audit) {
    const [, name] = /^ +(\S+)/.exec(line) ?? []
    if (name !== undefined) tell(name)
    else {
      if (isTold) kind = []
      kind.push(line)
      isTold = false
    }
  }
  if (!isTold) tell('')
  return found
}

/** By the states of `unfinishedPackages`: how dpkg words each. What it says of its lists and checksums is of no state. */
const stateSentences: readonly (readonly [state: string, sentence: RegExp])[] = [
  ['unpacked', /^The following packages have been unpacked but not yet configured/m],
  ['half-configured', /^The following packages are only half configured/m],
  ['half-installed', /^The following packages are only half installed/m],
  ['triggers-awaited', /^The following packages are awaiting processing of triggers/m],
  ['triggers-pending', /^The following packages have been triggered/m],
  ['reinst-required', /^The following packages are in a mess due to serious problems/m],
]

/** Which of the problems are states that the plan has brought back, by their keys. One that has to be installed again is told with its state, too. */
export function plannedAmong(
  problems: ReturnType<typeof problemsOf>,
  unfinished: readonly UnfinishedPackage[],
): ReadonlySet<string> {
  const states = new Map(unfinished.map(({ name, state }) => [name, state]))
  const isPlanned = (key: string, name: string): boolean => {
    const state = states.get(name.split(':')[0] ?? name)
    const [told] = stateSentences.find(([, sentence]) => sentence.test(key)) ?? []
    return state !== undefined && told !== undefined && (told === state || state === 'reinst-required')
  }
  return new Set([...problems].flatMap(([key, { name }]) => (isPlanned(key, name) ? [key] : [])))
}

/** dpkg's query.c, audit(): said before the first problem while somebody has the lock, and that is we. */
function isPreface(line: string): boolean {
  return (
    line.startsWith('Another process has locked the database for writing') ||
    line.startsWith('modifying it, some of the following problems')
  )
}

/**
 * What the proof says and nobody expected, as sentences and paths; undefined: it holds. `expected` are paths that may differ from the package's; what was said
 * `before`, too, is not made worse, and what the plan itself leaves `unfinished` is as it was to be.
 */
export function unexpected(
  { audit, consistency, differences }: DpkgProof,
  expected: (difference: VerifiedPath) => boolean,
  before: PackageCondition = { audit: [], consistency: { consistent: true } },
  unfinished: readonly UnfinishedPackage[] = [],
): { readonly sentences: readonly string[]; readonly differences: readonly VerifiedPath[] } | undefined {
  const [known, problems] = [problemsOf(before.audit), problemsOf(audit)]
  const planned = plannedAmong(problems, unfinished)
  const news = [...problems].flatMap(([key, { sentence }]) =>
    known.has(key) || planned.has(key) ? [] : [sentence],
  )
  const sentences = [...news, ...inconsistencies(consistency, before.consistency)]
  const found = differences.filter((difference) => !expected(difference))
  return sentences.length + found.length === 0 ? undefined : { sentences, differences: found }
}

function inconsistencies(now: Consistency, before: Consistency): readonly string[] {
  if (now.consistent) return []
  if (before.consistent) return now.sentences.length > 0 ? now.sentences : ['Packages do not stand together']
  return newlyBroken(now, before).map(describeBroken)
}

/** What was broken before is not made worse. */
export function newlyBroken(now: Consistency, before: Consistency): readonly BrokenDependency[] {
  if (now.consistent) return []
  const known = new Set(before.consistent ? [] : before.broken.map(describeBroken))
  return now.broken.filter((each) => !known.has(describeBroken(each)))
}

/** dpkg(1), "--verify-format": nine signs as rpm has them, of which M stands for a thing that is no file, and 5 for the content; or `missing`; `c` for configuration; the path. */
const differencePattern = /^(missing {2}|[?.SM5DLUGTP]{9}) (c| ) (\/[^\0]*)$/
const changedSigns = /[M5]/
const missingReason =
  / \((?:Permission denied|Not a directory|Too many levels of symbolic links|Input\/output error|File name too long)\)$/

export function parseVerified(text: string): readonly VerifiedPath[] {
  const found: VerifiedPath[] = []
  for (const line of lines(text)) {
    if (line === '') continue
    const [, signs = '', mark, rest] = differencePattern.exec(line) ?? []
    const missing = signs.startsWith('missing')
    // Why it is missing comes in brackets, unless it is just not there.
    const path =
      rest === undefined ? undefined : parseRawPath(asRaw(missing ? rest.replace(missingReason, '') : rest))
    if (path === undefined || found.length >= differencesMax)
      throw new VmlError(
        'remote.protocol',
        `Cannot read what dpkg verified: it has "${printableText(line.slice(0, 200))}"`,
      )
    if (missing || changedSigns.test(signs))
      found.push({ path, configuration: mark === 'c', difference: missing ? 'missing' : 'changed' })
  }
  return found
}

function* batches(packages: readonly string[]): Iterable<readonly string[]> {
  let some: string[] = []
  let bytes = 0
  for (const name of packages) {
    if (bytes + name.length > wordsBytesMax) {
      yield some
      some = []
      bytes = 0
    }
    some.push(name)
    bytes += name.length + 3
  }
  if (some.length > 0) yield some
}

/** dpkg ends with 1 where it found something, and with 2 where it could not look. */
async function ask(shell: Shell, words: readonly string[], signal: AbortSignal | undefined): Promise<string> {
  const { status, stdout, stderr } = await shell.run({
    argv: ['env', 'LC_ALL=C', 'dpkg', ...words],
    idleTimeoutMs,
    outputBytesMax,
    signal,
  })
  if (status > 1 || stderr.includes('dpkg: error') || / is not installed\n/.test(rawFromBytes(stderr)))
    throw new VmlError('remote.command', `Cannot have dpkg look at the packages of ${shell.label}`, {
      details: { status, words: words.slice(0, 3), stderr: printable(rawFromBytes(stderr.subarray(-2048))) },
    })
  return rawFromBytes(stdout)
}
