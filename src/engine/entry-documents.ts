// What a save says of the machine and of itself: the documents under `/.vml/`.
import { printable, type RawText } from '../base/raw-text.ts'
import type { BaseFacts, EntryDocument, EntryKind } from '../model/entry.ts'
import type { ImageReference } from '../model/machine.ts'
import type { PackageSet } from '../model/packages.ts'
import type { MachineFacts } from '../source/facts.ts'
import type { Captured } from './capture.ts'
import type { CaptureRoot } from './capture-run.ts'
import type { OpenMachine, SaveParts, SaveRequest } from './save.ts'
import type { VmlFile } from './vml-folder.ts'

type DescribedParts = Pick<SaveParts, 'open' | 'base' | 'imageSha256'>

export interface Described {
  readonly captured: Captured
  readonly roots: readonly CaptureRoot[]
  readonly number: number
  readonly startedAt: number
  readonly kind?: EntryKind
}

export function describeEntry(
  parts: DescribedParts,
  request: SaveRequest,
  { captured, roots, number, startedAt, kind }: Described,
): EntryDocument {
  const { facts, machine, source } = parts.open
  const image = imageOf(machine.image, facts.image, parts.imageSha256)
  return {
    schema: 1,
    kind: kind ?? 'environment',
    title: request.title,
    note: request.note,
    machine: machine.name,
    ...(request.project === undefined ? {} : { project: request.project }),
    number,
    ...modeOf(parts, request),
    startedAt: new Date(startedAt).toISOString(),
    user: {
      name: facts.user.name,
      uid: facts.user.uid,
      gid: facts.user.gid,
      home: printable(facts.user.home),
      homeRaw: base64(facts.user.home),
    },
    roots: roots.map(({ path, why }) => ({ path: printable(path), raw: base64(path), why })),
    ...(image ? { image } : {}),
    facts: baseFactsOf(facts),
    scan: { startedNs: captured.scanStartedNs.toString(), resolutionNs: source.fidelity.timeResolutionNs },
    fidelity: source.fidelity,
    rules: { exclude: request.exclude, defaults: kind !== 'safety' },
    excluded: captured.excluded.map(({ path, rule }) => ({ path: printable(path), raw: base64(path), rule })),
    problems: captured.problems,
    mounts: captured.mounts.map(({ path, type }) => ({ path: printable(path), raw: base64(path), type })),
    cvmfs: facts.cvmfs,
    caches: captured.caches,
    outcome: captured.partial ? 'partial' : 'complete',
    statistics: captured.statistics,
  }
}

/** What was asked, what it became, and why: a first entry is always full. */
function modeOf(
  parts: DescribedParts,
  request: SaveRequest,
): Pick<EntryDocument, 'mode' | 'modeReason' | 'since'> {
  if (request.mode === 'full') return { mode: 'full', modeReason: 'asked for' }
  if (parts.base) return { mode: request.mode, since: parts.base.entry.id }
  const reason =
    request.mode === 'differential' ? 'no full entry of this machine yet' : 'first entry of this machine'
  return { mode: 'full', modeReason: reason }
}

function imageOf(
  given: ImageReference | undefined,
  guessed: ImageReference | undefined,
  sha256: string | undefined,
): EntryDocument['image'] {
  if (given) return { ...given, guessed: false, ...(sha256 === undefined ? {} : { sha256 }) }
  return guessed ? { ...guessed, guessed: true } : undefined
}

/** Safety entries are about paths only: the machine's facts stand in the entries before and after. */
export async function documentsOf(
  { facts }: OpenMachine,
  document: EntryDocument,
  packages: PackageSet | undefined,
): Promise<VmlFile[]> {
  const { encodeEntryDocument, encodeEnvironment, encodePackages } = await import('../model/documents.ts')
  const files: VmlFile[] = [{ name: 'entry.json', bytes: encodeEntryDocument(document) }]
  if (document.kind === 'safety') return files
  files.push({ name: 'environment.json', bytes: encodeEnvironment(variablesOf(facts)) })
  if (packages) files.push({ name: 'packages.json', bytes: encodePackages(packages) })
  if (facts.history.length > 0) files.push({ name: 'history', files: historyFiles(facts) })
  if (facts.hooks.length > 0) {
    files.push({ name: 'facts', files: facts.hooks.map(({ name, output }) => ({ name, bytes: output })) })
  }
  return files
}

export function variablesOf({ environment }: MachineFacts): ReadonlyMap<RawText, RawText> {
  return new Map(environment.variables.map(({ name, value }) => [name, value]))
}

export function baseFactsOf(facts: MachineFacts): BaseFacts {
  const { os, cernvmRelease, kernel, architecture, hostname, user } = facts
  return {
    ...(os === undefined ? {} : { os }),
    ...(cernvmRelease === undefined ? {} : { cernvmRelease }),
    ...(kernel === undefined ? {} : { kernel }),
    ...(architecture === undefined ? {} : { architecture }),
    ...(hostname === undefined ? {} : { hostname }),
    ...(user.loginShell === undefined ? {} : { loginShell: printable(user.loginShell) }),
  }
}

/** One file for each shell; a second history of the same shell gets a number. */
function historyFiles({ history }: MachineFacts): VmlFile[] {
  const seen = new Map<string, number>()
  return history.map(({ shell, content }) => {
    const count = (seen.get(shell) ?? 0) + 1
    seen.set(shell, count)
    return { name: count === 1 ? shell : `${shell}-${count}`, bytes: content }
  })
}

function base64(text: RawText): string {
  return Buffer.from(text, 'latin1').toString('base64')
}
