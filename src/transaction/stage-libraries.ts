// The linker's check of a stage: shared libraries that programs need and that would lie nowhere any more (C02).
import { lstatSync } from 'node:fs'
import { printable, type RawText, rawToBytes } from '../base/raw-text.ts'
import { type ElfFacts, isElf, machineName, readElf } from '../model/elf.ts'
import { baseName, parseRawPath, type RawPath } from '../model/raw-path.ts'
import type { Validation } from '../model/transaction-record.ts'
import type { LookedStage } from './end-stage.ts'
import { openStageView, type StageView, withRanges } from './stage-view.ts'
import { inRoot, type Workplace } from './workplace.ts'

/** A full system has some 10,000; beyond this a stage holds a store of programs, and not packages. */
const programsMax = 100_000
/** The header of a program and one entry of its dynamic section are larger. */
const elfBytesMin = 64
const namesShown = 10
const checkName = 'shared libraries'

/**
 * Changed programs are asked for all that they need, the others only for what goes. A library counts as there where a file of its name for the same machine
 * lies anywhere: programs that load their own from folders of their own are no mistake. Undefined where no program changed and no library went.
 */
export async function checkLibraries(place: Workplace, looked: LookedStage): Promise<Validation | undefined> {
  const view = openStageView(place, looked)
  const gone = goneLibraries(looked)
  const needs = await needsOfChanged(place, looked, { view, gone })
  if (needs === undefined && gone.size === 0) return undefined
  const all = needs ?? new Map<string, Need>()
  if (gone.size > 0) await addNeedsOfOthers(place, looked, { view, gone, needs: all })
  const missing = await missingOf(looked, view, [...all.values()])
  if (missing.length === 0) return { name: checkName, outcome: 'passed' }
  const sentences = missing.slice(0, namesShown).map(({ name, by }) => {
    const others = by.length > 1 ? ` and ${by.length - 1} more` : ''
    return `${printable(name)} would be nowhere, and ${by[0] === undefined ? '' : printable(by[0])}${others} need${others === '' ? 's' : ''} it`
  })
  const rest = missing.length > namesShown ? [`${missing.length - namesShown} more`] : []
  return { name: checkName, outcome: 'failed', message: [...sentences, ...rest].join('; ') }
}

interface Need {
  readonly name: RawText
  readonly bits: ElfFacts['bits']
  readonly machine: string
  /** Programs and libraries that need it. */
  readonly by: RawPath[]
}

/** Undefined where no program changed. */
async function needsOfChanged(
  place: Workplace,
  { changeSet }: LookedStage,
  { view, gone }: { view: StageView; gone: ReadonlySet<string> },
): Promise<Map<string, Need> | undefined> {
  const needs = new Map<string, Need>()
  let programs = 0
  for (const { path, before, after } of changeSet.changes) {
    if (after?.type !== 'file' || after.sha256 === before?.sha256 || !mayBeProgram(path, after)) continue
    const file = view.placeOf(path)
    const elf = file === undefined ? undefined : await elfOf(file)
    if (elf === undefined || programs >= programsMax) continue
    programs++
    const old = before?.type === 'file' ? await elfOf(inRoot(place, path)) : undefined
    // What it did without before it does without now.
    const had = new Set<string>(old?.needed)
    for (const name of elf.needed) if (!had.has(name) || gone.has(name)) addNeed(needs, elf, name, path)
  }
  return programs === 0 ? undefined : needs
}

function addNeed(needs: Map<string, Need>, { bits, machine }: ElfFacts, name: RawText, by: RawPath): void {
  const key = `${machine} ${bits} ${name}`
  const need = needs.get(key) ?? { name, bits, machine, by: [] }
  needs.set(key, need)
  need.by.push(by)
}

/** Names of libraries of which a file or link goes. */
function goneLibraries({ changeSet }: LookedStage): ReadonlySet<string> {
  return new Set(
    changeSet.changes
      .filter(({ before, after }) => before && !after && before.type !== 'dir')
      .map(({ path }) => baseName(path))
      .filter(isLibraryName),
  )
}

function isLibraryName(name: string): boolean {
  return /\.so(?:\.|$)/.test(name)
}

function mayBeProgram(
  path: RawPath,
  { mode, size = 0 }: { mode: number; size?: number | undefined },
): boolean {
  return size >= elfBytesMin && ((mode & 0o111) !== 0 || isLibraryName(baseName(path)))
}

async function addNeedsOfOthers(
  place: Workplace,
  { stage: { index } }: LookedStage,
  { view, gone, needs }: { view: StageView; gone: ReadonlySet<string>; needs: Map<string, Need> },
): Promise<void> {
  let programs = 0
  for (const [row, path] of index.paths.entries()) {
    const mode = index.columns.mode[row] ?? 0
    const size = index.columns.size[row] ?? 0
    if ((mode & 0o170000) !== 0o100000 || view.changes.has(path) || !mayBeProgram(path, { mode, size }))
      continue
    const elf = await elfOf(inRoot(place, path))
    if (elf === undefined) continue
    for (const name of elf.needed) if (gone.has(name)) addNeed(needs, elf, name, path)
    if (++programs >= programsMax) return
    if (programs % 512 === 0) place.signal?.throwIfAborted()
  }
}

/** Those that would lie nowhere. */
async function missingOf(
  { stage: { index } }: LookedStage,
  view: StageView,
  needs: readonly Need[],
): Promise<Need[]> {
  const wanted = new Set<string>(needs.map(({ name }) => name))
  const found = new Map<string, RawPath[]>()
  const offer = (path: RawPath) => {
    const name = baseName(path)
    if (!wanted.has(name)) return
    const known = found.get(name)
    if (known) known.push(path)
    else found.set(name, [path])
  }
  for (const path of index.paths)
    if (view.changes.get(path)?.after !== undefined || !view.changes.has(path)) offer(path)
  for (const { path, before, after } of view.changes.values()) if (after && !before) offer(path)
  const missing: Need[] = []
  for (const need of needs) {
    const byPath = need.name.includes('/') ? parseRawPath(need.name) : undefined
    const places = byPath === undefined ? (found.get(need.name) ?? []) : [byPath]
    if (!(await isAny(view, places, need))) missing.push(need)
  }
  return missing
}

async function isAny(view: StageView, places: readonly RawPath[], { bits, machine }: Need): Promise<boolean> {
  for (const path of places) {
    const real = view.resolve(path)
    const file = real === undefined ? undefined : view.placeOf(real)
    if (file === undefined || !lstatSync(rawToBytes(file)).isFile()) continue
    const start = await withRanges(file, async (read) => await read(0, 20))
    const facts = machineName(start)
    if (facts?.bits === bits && facts.machine === machine) return true
  }
  return false
}

async function elfOf(file: RawText): Promise<ElfFacts | undefined> {
  const status = lstatSync(rawToBytes(file), { throwIfNoEntry: false })
  if (!status?.isFile() || status.size < elfBytesMin) return undefined
  return await withRanges(file, async (read) =>
    isElf(await read(0, 4)) ? await readElf(status.size, read) : undefined,
  )
}
