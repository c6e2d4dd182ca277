// Whether all packages of an rpm database could stand together, as rpm itself judges it: a planned database is asked, nothing is changed.
import { VmlError } from '../base/failure.ts'
import { printable, rawFromBytes } from '../base/raw-text.ts'
import type { Shell } from '../wire/shell.ts'
import { lines } from './package-records.ts'

export interface BrokenRelation {
  /** Whose relation it is: `d-1-1.noarch`. */
  readonly package: string
  readonly relation: 'requires' | 'conflicts' | 'obsoletes'
  /** What it needs, or must not have beside it: `a >= 2`, `/opt/a/new`, `(x if a)`. */
  readonly needs: string
  /** Versions of the package of that name that are there. */
  readonly installed?: string
}

/** More than this is no plan that somebody would look through. */
const outputBytesMax = 64 * 1024 * 1024

/** All relations that do not hold, each once; none where the database is consistent. The folder must be one that rpm may write to. */
export async function brokenRelations(
  shell: Shell,
  folder: string,
  { signal }: { signal?: AbortSignal | undefined } = {},
): Promise<readonly BrokenRelation[]> {
  const rpm = ['rpm', '--dbpath', folder]
  const { status, stdout, stderr } = await shell.run({
    argv: [...rpm, '-Va', '--nofiles', '--noscripts', '--nodigest', '--nosignature'],
    outputBytesMax,
    // Of thousands of packages nothing is said where nothing is wrong.
    idleTimeoutMs: Number.POSITIVE_INFINITY,
    endsWhole: true,
    signal,
  })
  const broken = parseBroken(stdout.toString('latin1'))
  // The status counts failures, of any kind.
  if ((status === 0) !== (broken.length === 0))
    throw new VmlError(
      'remote.command',
      `Cannot check the packages of ${shell.label}: rpm ended with ${status}`,
      {
        details: { status, stderr: printable(rawFromBytes(stderr.subarray(-2048))) },
      },
    )
  if (broken.length === 0) return []
  const versions = await shell.run({
    argv: [...rpm, '-qa', '--qf', '%{NAME}\\t%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\\n'],
    outputBytesMax,
    endsWhole: true,
    signal,
  })
  const installed = versionsByName(versions.stdout.toString('latin1'))
  return broken.map((one) => {
    const there = installed.get(one.needs.split(' ', 1)[0] ?? '')
    return there === undefined ? one : { ...one, installed: there }
  })
}

/** What is broken in the planned state and was not before: older faults of a machine are no reason to refuse an undo. */
export function newlyBroken(
  before: readonly BrokenRelation[],
  planned: readonly BrokenRelation[],
): readonly BrokenRelation[] {
  const known = new Set(before.map(relationKey))
  return planned.filter((one) => !known.has(relationKey(one)))
}

function relationKey({ package: name, relation, needs }: BrokenRelation): string {
  return `${name}\n${relation}\n${needs}`
}

const sayings = [
  ['requires', ' is needed by '],
  ['conflicts', ' conflicts with '],
  ['obsoletes', ' is obsoleted by '],
] as const

/** Lines such as `<tab>a >= 2 is needed by (installed) d-1-1.noarch` (rpm, lib/rpmprob.c); it says some of them of both packages. */
export function parseBroken(text: string): readonly BrokenRelation[] {
  const found = new Map<string, BrokenRelation>()
  for (const line of lines(text)) {
    if (!line.startsWith('\t')) continue
    for (const [relation, saying] of sayings) {
      const at = line.lastIndexOf(saying)
      if (at === -1) continue
      const broken: BrokenRelation = {
        package: line.slice(at + saying.length).replace(/^\(installed\) /, ''),
        relation,
        needs: line.slice(1, at),
      }
      found.set(relationKey(broken), broken)
      break
    }
  }
  return [...found.values()]
}

function versionsByName(text: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>()
  for (const line of lines(text)) {
    const [name = '', version = ''] = line.split('\t')
    const known = found.get(name)
    found.set(name, known === undefined ? version : `${known}, ${version}`)
  }
  return found
}
