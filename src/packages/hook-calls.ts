// What the hooks of apt, dpkg, dnf and rpm ask VML for, and what they leave in the open stage for it.
import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { VmlError, systemErrorCode } from '../base/failure.ts'
import { numberFromProc } from '../base/process-mark.ts'
import { asRaw, printableText, rawFromBytes, type RawText } from '../base/raw-text.ts'

/**
 * `vml tx hook VERB …`. `stage` is /var/lib/vml/stage/open, which is there from the beginning of a transaction to its end, and holds `enter`
 * while dpkg is to work in a stage. `pid` is the process that apt or dpkg runs in.
 *
 * `begin`: apt begins. Makes `stage`, and `enter` as the last thing in it, if there shall be a stage. 99 (`refusedStatus`) stops apt.
 * `plan`: apt has told what it is about to do, and a package of it may need the running system (`live-names`). Its `plan` lies in `stage`.
 * `live`: dpkg was started past the stage, in which nothing was done yet. Takes `enter` away and records without a stage. 99 stops dpkg.
 * `redo-live`: call `number` of dpkg ended in the stage with `status`, which is 97 when the stage could not be entered. Takes `enter` away,
 *   then does calls 1 to `number` on the system itself, with all the descriptors that it was started with (--status-fd), and ends with the
 *   status of the last of them.
 * `end`: apt has done its last. `stage` is gone when this ends with 0; any other status makes apt fail.
 * `dpkg-begin`, `dpkg-end`: of a dpkg that belongs to no transaction; as `begin` without a stage, and `end`, of which dpkg only tells.
 *
 * `dnf-staged`: says "staged" where dnf is to be begun anew in a stage; `dnf-run -- DNF WORD…` does that, and ends as dnf does.
 * `dnf-begin`, `dnf-end`: around what a dnf does that is in no stage. 99 of `dnf-begin` stops dnf, 0 asks for `dnf-end`.
 * `rpm-begin`, `rpm-end`: of an rpm that dnf did not start. Nothing stops rpm; 0 asks for `rpm-end`, which comes when rpm is gone.
 *
 * Any other status of `begin`, `live` and `dpkg-begin` lets apt and dpkg go on without a record; `journal/recover.sh` in `stage` is run before,
 * and `enter` is put out of reach. Where a run of apt is given up after `begin`, there is no `end`: whoever begins next finds its `stage`.
 */
export type HookCall = { readonly verb: 'begin' | 'dpkg-begin'; readonly pid: number } | BegunCall | RpmCall

/** Of a run of apt or dpkg that has begun. */
export type BegunCall =
  | { readonly verb: 'plan' | 'live' | 'end' | 'dpkg-end'; readonly pid: number }
  | { readonly verb: 'redo-live'; readonly number: number; readonly status: number }

export type RpmCall =
  | { readonly verb: 'dnf-begin' | 'dnf-end' | 'rpm-begin' | 'rpm-end'; readonly pid: number }
  | { readonly verb: 'dnf-staged' }
  | { readonly verb: 'dnf-run'; readonly argv: readonly string[] }

const verbs = [
  'begin',
  'plan',
  'live',
  'end',
  'dpkg-begin',
  'dpkg-end',
  'dnf-begin',
  'dnf-end',
  'rpm-begin',
  'rpm-end',
] as const

/** `usage` for what the hooks never say: they are of another version then. */
export function parseHookCall(words: readonly string[]): HookCall {
  const [word, first, second, more] = words
  const number = numberOf(first)
  const status = numberOf(second)
  const verb = verbs.find((each) => each === word)
  if (verb !== undefined && number !== undefined && second === undefined)
    return { verb, pid: isOfSh(verb) ? (numberFromProc(number) ?? number) : number }
  if (word === 'dnf-staged' && first === undefined) return { verb: word }
  if (word === 'dnf-run' && first !== undefined) return { verb: word, argv: words.slice(1) }
  if (word === 'redo-live' && number !== undefined && status !== undefined && more === undefined)
    return { verb: word, number, status }
  throw new VmlError(
    'usage',
    `Cannot answer the hook: "${printableText(words.join(' ').slice(0, 100))}" is no call of it`,
    {
      hint: 'vml tx enable puts the hooks of this version in place',
    },
  )
}

/** They have it from /proc, which may be that of a namespace above. */
function isOfSh(verb: (typeof verbs)[number]): boolean {
  return !verb.startsWith('dnf-') && !verb.startsWith('rpm-')
}

function numberOf(word: string | undefined): number | undefined {
  return word !== undefined && /^\d{1,10}$/.test(word) ? Number(word) : undefined
}

/** One process for ever: its number, when it began in the kernel's ticks, and the kernel's own mark. */
export interface HookFrontend {
  readonly pid: number
  readonly started: string
  readonly boot: string
}

/** For whom a stage was opened; undefined where none of the hooks opened it. */
export async function readFrontend(stage: string): Promise<HookFrontend | undefined> {
  const text = await textOf(join(stage, 'frontend'))
  const [, pid, started, boot] = /^(\d{1,10}) (\d{1,20}) ([\da-f-]{36})\n/.exec(text ?? '') ?? []
  if (pid === undefined || started === undefined || boot === undefined) return undefined
  return { pid: Number(pid), started, boot }
}

/** A call of dpkg that was made in the stage. */
export interface KeptCall {
  readonly number: number
  /** Without the program's own name. */
  readonly argv: readonly RawText[]
  readonly folder: RawText
  /** A file with what it was given on standard input, such as packages that shall go. */
  readonly inputFile?: string
  /** Not there while it runs, or when it was cut off. */
  readonly status?: number
}

/** The kernel gives all words and the environment 6 MiB at most (execve(2)). */
const callBytesMax = 8 * 1024 * 1024
/** Four digits; a release upgrade takes some hundred. */
const callsMax = 9999

/** In their order; empty where dpkg was not called yet. A call that is not whole, since something cut it off, ends the list. */
export async function readKeptCalls(stage: string): Promise<readonly KeptCall[]> {
  const names = await present(readdir(join(stage, 'calls')))
  const calls: KeptCall[] = []
  for (const name of (names ?? []).filter((each) => /^\d{4}$/.test(each)).toSorted()) {
    const folder = join(stage, 'calls', name)
    const argv = await textOf(join(folder, 'argv'))
    const at = await textOf(join(folder, 'cwd'))
    if (argv === undefined || !argv.endsWith('\0') || at === undefined || !at.endsWith('\n')) break
    const status = numberOf((await textOf(join(folder, 'status')))?.trim())
    const hasInput = (await textOf(join(folder, 'stdin'))) !== undefined
    calls.push({
      number: Number(name),
      argv: argv.slice(0, -1).split('\0').map(asRaw),
      folder: asRaw(at.slice(0, -1)),
      ...(hasInput ? { inputFile: join(folder, 'stdin') } : {}),
      ...(status === undefined ? {} : { status }),
    })
    if (calls.length > callsMax) break
  }
  return calls
}

async function textOf(path: string): Promise<string | undefined> {
  const bytes = await present(readFile(path))
  if (bytes !== undefined && bytes.length > callBytesMax)
    throw new VmlError('integrity.format', `Cannot read "${path}": it has more than ${callBytesMax} bytes`)
  return bytes === undefined ? undefined : rawFromBytes(bytes)
}

async function present<Value>(asked: Promise<Value>): Promise<Value | undefined> {
  try {
    return await asked
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
}
