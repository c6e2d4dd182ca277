// Whether a planned set of packages holds together, and what else would: apt's own checker and solver, asked without changing anything.
import { VmlError } from '../base/failure.ts'
import { printable, rawFromBytes } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { Shell } from '../wire/shell.ts'
import { parseBroken, parseErrors, parseSimulation, type SimulatedStep } from './apt-answers.ts'
import type { BrokenDependency } from './broken-dependency.ts'
import { paragraphs } from './package-records.ts'

/** `sentences` are apt's own, for a state that it will not even look at. */
export type Consistency =
  | { readonly consistent: true }
  | {
      readonly consistent: false
      readonly broken: readonly BrokenDependency[]
      readonly sentences: readonly string[]
    }

/**
 * No lock is taken, no cache written, no list of an archive read: it is about what is installed alone, and works without root. The solver's
 * wishes that are no needs stay out.
 */
const quiet = [
  'Debug::NoLocking=true',
  'Dir::Cache::pkgcache=',
  'Dir::Cache::srcpkgcache=',
  // A simulation writes its plan there otherwise.
  'Dir::Log::Planner=/dev/null',
  'Dir::Log::Solver=/dev/null',
  'APT::Install-Recommends=false',
  'APT::Install-Suggests=false',
  'APT::Get::Show-User-Simulation-Note=false',
]
const withoutArchives = [
  'Dir::State::lists=/dev/null',
  'Dir::Etc::sourcelist=/dev/null',
  'Dir::Etc::sourceparts=/dev/null',
]
/** A broken release upgrade names some thousand packages. */
const outputBytesMax = 16 * 1024 * 1024
/** A solver that looks at 60,000 packages on a slow machine says nothing for that long. */
const idleTimeoutMs = 300_000

/**
 * Of the very set that a status file says, be it planned or in use (without one). `extendedStates` is apt's file of what was installed
 * automatically. Pending work of dpkg is not seen by apt; `unfinishedPackages` tells it.
 */
export async function checkStatus(
  shell: Shell,
  {
    status,
    extendedStates,
    signal,
  }: {
    readonly status?: RawPath
    readonly extendedStates?: RawPath
    readonly signal?: AbortSignal | undefined
  } = {},
): Promise<Consistency> {
  const options = [
    ...quiet,
    ...withoutArchives,
    ...(status === undefined ? [] : [`Dir::State::status=${status}`]),
    ...(extendedStates === undefined ? [] : [`Dir::State::extended_states=${extendedStates}`]),
  ]
  const answer = await askApt(shell, options, ['check'], signal)
  if (answer.status === 0) return { consistent: true }
  const broken = parseBroken(answer.text)
  const sentences = parseErrors(answer.text)
  if (broken.length === 0 && sentences.length === 0) throw noAnswer(shell, 'check', answer)
  return { consistent: false, broken, sentences }
}

/** What is wanted of one package: that version, or that it goes. */
export interface WantedPackage {
  readonly name: string
  readonly architecture?: string
  readonly want: { readonly version: string } | 'keep' | 'remove'
}

export type Proposal =
  | { readonly solved: true; readonly steps: readonly SimulatedStep[] }
  | {
      readonly solved: false
      readonly broken: readonly BrokenDependency[]
      /** Such as that a version is in no archive any more. */
      readonly sentences: readonly string[]
    }

/** What apt would do beside what is wanted, with the archives that the machine knows; `purge` is of all that goes. Steps outside of it are what is in the way. */
export async function proposeChanges(
  shell: Shell,
  wanted: readonly WantedPackage[],
  { purge = false, signal }: { readonly purge?: boolean; readonly signal?: AbortSignal | undefined } = {},
): Promise<Proposal> {
  const words = [
    '-s',
    '--allow-downgrades',
    '--allow-change-held-packages',
    ...(purge ? ['--purge'] : []),
    'install',
    '--',
    ...wanted.map(wordOf),
  ]
  const answer = await askApt(shell, quiet, words, signal)
  if (answer.status === 0) return { solved: true, steps: parseSimulation(answer.text) }
  const broken = parseBroken(answer.text)
  const sentences = parseErrors(answer.text)
  if (broken.length === 0 && sentences.length === 0) throw noAnswer(shell, 'simulate', answer)
  return { solved: false, broken, sentences }
}

/** apt-get(8), "install": `name=version`, `name+`, `name-`. */
function wordOf({ name, architecture, want }: WantedPackage): string {
  const full = architecture === undefined ? name : `${name}:${architecture}`
  if (typeof want === 'object') return `${full}=${want.version}`
  return `${full}${want === 'keep' ? '+' : '-'}`
}

interface AptAnswer {
  readonly status: number
  readonly text: string
}

async function askApt(
  shell: Shell,
  options: readonly string[],
  words: readonly string[],
  signal: AbortSignal | undefined,
): Promise<AptAnswer> {
  const { status, stdout, stderr } = await shell.run({
    argv: ['env', 'LC_ALL=C', 'apt-get', ...options.flatMap((option) => ['-o', option]), ...words],
    outputBytesMax,
    idleTimeoutMs,
    signal,
  })
  return { status, text: `${rawFromBytes(stdout)}\n${rawFromBytes(stderr)}` }
}

function noAnswer(shell: Shell, what: string, { status, text }: AptAnswer): VmlError {
  return new VmlError(
    'remote.command',
    `Cannot have apt ${what} the packages of ${shell.label}: it ended with ${status}`,
    {
      details: { status, output: printable(rawFromBytes(Buffer.from(text.slice(-2048), 'latin1'))) },
    },
  )
}

export interface UnfinishedPackage {
  readonly name: string
  /** Of dpkg(1), "Package states": `unpacked`, `half-installed`, …; `reinst-required` is its flag. */
  readonly state: string
}

const finishedStates = new Set(['installed', 'config-files', 'not-installed'])
const statusKeys = new Set(['Package', 'Status'])

/** Of the text of a status file: what dpkg has left half done. Triggers that are awaited or pending count. */
export function unfinishedPackages(status: string): readonly UnfinishedPackage[] {
  const found: UnfinishedPackage[] = []
  for (const fields of paragraphs(status, statusKeys)) {
    const [, flag = '', state = ''] = fields.get('Status')?.split(/\s+/) ?? []
    if (flag === 'ok' && finishedStates.has(state)) continue
    found.push({ name: fields.get('Package') ?? '', state: flag === 'ok' ? state : 'reinst-required' })
  }
  return found
}
