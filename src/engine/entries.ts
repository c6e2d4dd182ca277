// The lines of the log: every snapshot of the repository seen as an entry, from the catalogue where it knows them.
import type { Reporter } from '../base/progress.ts'
import { isFailure, messageOf, VmlError } from '../base/failure.ts'
import { mapOrdered } from '../base/pool.ts'
import { rawFromString } from '../base/raw-text.ts'
import type { Catalog, CatalogRow, EntryFacts, LostTotals } from '../catalog/catalog.ts'
import { documentBytesMax } from '../model/document-json.ts'
import { type Entry, type EntryDocument, type EntryKind, type Snapshot, vmlFolder } from '../model/entry.ts'
import type { LostPath } from '../model/lost.ts'
import { parseId, shortId, type EntryId, type SnapshotId } from '../model/ids.ts'
import { isDamage } from '../store/damage.ts'
import type { Repository } from '../store/store.ts'

/** An entry with what its own document says of it, where it has one. */
export interface LoggedEntry extends Entry {
  readonly facts: EntryFacts | undefined
  /** Other snapshots of the same entry, left by an edit that was cut off. */
  readonly twins: readonly SnapshotId[]
}

export interface EntriesOptions {
  readonly signal?: AbortSignal | undefined
  readonly reporter?: Reporter
  /** Told of each snapshot that is damaged and not remembered: its entry is not among those that are given. */
  readonly onLeftOut?: ((id: SnapshotId) => void) | undefined
  /** Told of each entry whose own document cannot be read, and why. */
  readonly onUnread?: ((snapshot: Snapshot, why: string) => void) | undefined
}

export interface OpenLogbook {
  readonly repository: Repository
  readonly catalog: Catalog
}

const kinds: readonly EntryKind[] = ['environment', 'safety', 'transaction']
const numberTag = /^vml:n=(\d{1,15})$/
const readsAtOnce = 8
/** All entries, oldest first. Snapshots that the catalogue does not know are read and remembered. */
export async function listEntries(
  logbook: OpenLogbook,
  options: EntriesOptions = {},
): Promise<LoggedEntry[]> {
  const rows = await refresh(logbook, options)
  const byEntry = new Map<EntryId, CatalogRow[]>()
  for (const row of rows) {
    const id = entryIdOf(row.snapshot)
    const known = byEntry.get(id)
    if (known) known.push(row)
    else byEntry.set(id, [row])
  }
  const entries = [...byEntry.values()].map(chooseEntry)
  const highest = Math.max(0, ...entries.map((entry) => entry.number ?? 0))
  if (highest > logbook.catalog.highestNumber) logbook.catalog.raiseNumber(highest)
  return entries.sort(compareEntries)
}

/** Reads everything anew. What was remembered stays until all is read, so that a failure loses nothing. */
export async function rebuildCatalog(logbook: OpenLogbook, options: EntriesOptions = {}): Promise<void> {
  const { repository, catalog } = logbook
  const ids: SnapshotId[] = []
  for await (const id of repository.snapshotIds(options)) ids.push(id)
  const rows = await mapOrdered(ids, readsAtOnce, async (id) => await readRow(repository, id, options))
  catalog.clear()
  catalog.put(rows.filter((row) => row !== undefined).filter((row) => row.whole))
}

/** The number for the next entry: above every one that is there or was ever seen here. */
export async function nextEntryNumber(logbook: OpenLogbook, options: EntriesOptions = {}): Promise<number> {
  await listEntries(logbook, options)
  return logbook.catalog.takeNumber()
}

/** How an entry is called in messages: `#42`, or its short id where it has no number. */
export function entryName(entry: Entry): string {
  return entry.number === undefined ? shortId(entry.id) : `#${entry.number}`
}

/** As they come; of three and more whose numbers follow each other, up or down, the first and the last. */
export function entryNames(entries: readonly Entry[]): string {
  const runs: Entry[][] = []
  for (const entry of entries) {
    const run = runs.at(-1)
    if (run && goesOn(run, entry)) run.push(entry)
    else runs.push([entry])
  }
  return runs
    .flatMap((run) =>
      run.length < runShown
        ? run.map(entryName)
        : [...run.slice(0, 1), ...run.slice(-1)].map(entryName).join('–'),
    )
    .join(', ')
}

const runShown = 3

function goesOn(run: readonly Entry[], { number }: Entry): boolean {
  const last = run.at(-1)?.number
  if (last === undefined || number === undefined) return false
  const before = run.at(-2)?.number
  return before === undefined ? Math.abs(number - last) === 1 : number - last === last - before
}

/** How it is typed in a shell, where `#42` begins a comment. */
export function entryWord(entry: Entry): string {
  return entry.number === undefined ? shortId(entry.id) : String(entry.number)
}

export function entryIdOf(snapshot: Snapshot): EntryId {
  const id = parseId<EntryId>(snapshot.original ?? snapshot.id)
  if (id === undefined) throw new TypeError('A snapshot without an id reached the log')
  return id
}

/** VML's own tags, for whoever writes a snapshot. */
export function ownTags(entry: {
  readonly number?: number | undefined
  readonly kind: EntryKind
  readonly project?: string | undefined
  readonly revision?: number
}): string[] {
  return [
    ...(entry.number === undefined ? [] : [`vml:n=${entry.number}`]),
    `vml:kind=${entry.kind}`,
    ...(entry.project === undefined ? [] : [`vml:project=${entry.project}`]),
    ...(entry.revision === undefined ? [] : [`vml:rev=${entry.revision}`]),
  ]
}

/** Marks an entry that came from somebody else. */
export const importedTag = 'vml:imported'

/** Such an entry tells nothing of a machine of ours, whatever its machine is called: it opens without a network and is nobody's base. */
export function isImported(entry: { readonly snapshot: Snapshot }): boolean {
  return entry.snapshot.tags.includes(importedTag)
}

/** Marks an entry that a repair wrote anew without what damage took from it: `/.vml/lost.json` names that. */
export const lostTag = 'vml:lost'

/** How often an entry was edited: the highest revision is the one that counts. */
export function revisionOf(snapshot: Snapshot): number {
  return Number(tagValue(snapshot, /^vml:rev=(\d{1,15})$/) ?? 0)
}

/** First line and the rest of a description. */
export function splitDescription(description: string): { title: string; note: string } {
  const [title = '', ...rest] = description.split('\n')
  return { title, note: rest.join('\n').replace(/^\n+/, '').trimEnd() }
}

export function joinDescription({ title, note }: { title: string; note: string }): string {
  return note === '' ? title : `${title}\n\n${note}`
}

/** The document of an entry; undefined for a snapshot of another program. */
export async function readEntryDocument(
  repository: Repository,
  snapshot: Snapshot,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<EntryDocument | undefined> {
  const bytes = await readVmlFile(repository, snapshot, 'entry.json', options)
  if (bytes === undefined) return undefined
  const { parseEntryDocument } = await import('../model/documents.ts')
  return parseEntryDocument(bytes)
}

/** What damage took from an entry; nothing where no repair wrote it anew. */
export async function readLost(
  repository: Repository,
  snapshot: Snapshot,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<readonly LostPath[]> {
  const bytes = await readVmlFile(repository, snapshot, 'lost.json', options)
  if (bytes === undefined) return []
  const { parseLost } = await import('../model/lost.ts')
  try {
    return parseLost(bytes)
  } catch (error) {
    // Somebody else's file of that name, unless a repair says that it is its own.
    if (isFailure(error, 'integrity.format') && !snapshot.tags.includes(lostTag)) return []
    throw error
  }
}

/** A file of `/.vml/` of an entry; undefined where it has none. */
export async function readVmlFile(
  repository: Repository,
  snapshot: Snapshot,
  name: string,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<Buffer | undefined> {
  const pieces = await openVmlFile(repository, snapshot, name, { ...options, bytesMax: documentBytesMax })
  return pieces && Buffer.concat(await Array.fromAsync(pieces))
}

/** The same in pieces, in order: for what may be larger than a document. */
export async function openVmlFile(
  repository: Repository,
  snapshot: Snapshot,
  name: string,
  { bytesMax, signal }: { readonly bytesMax: number; readonly signal?: AbortSignal | undefined },
): Promise<AsyncIterable<Uint8Array> | undefined> {
  const root = await repository.readTree(snapshot.tree, { signal })
  const folder = root.find((node) => node.name === vmlFolder.slice(1) && node.type === 'dir')
  if (folder?.subtree === undefined) return undefined
  const wanted = rawFromString(name)
  const file = (await repository.readTree(folder.subtree, { signal })).find((node) => node.name === wanted)
  if (file?.type !== 'file') return undefined
  const tooLarge = () =>
    new VmlError(
      'integrity.format',
      `Cannot read ${vmlFolder}/${name}: it is larger than ${bytesMax / 1024 / 1024} MiB`,
    )
  if ((file.size ?? 0) > bytesMax) throw tooLarge()
  return (async function* () {
    let left = bytesMax
    for await (const segment of repository.readFile(file.content ?? [], { signal, keep: true })) {
      left -= segment.kind === 'data' ? segment.bytes.length : segment.length
      // Its size is a claim.
      if (left < 0) throw tooLarge()
      yield segment.kind === 'data' ? Buffer.from(segment.bytes) : Buffer.alloc(segment.length)
    }
  })()
}

/** Brings the catalogue to what the repository has, and returns its rows. */
async function refresh(logbook: OpenLogbook, options: EntriesOptions): Promise<CatalogRow[]> {
  const { repository, catalog } = logbook
  const known = catalog.rows()
  const rows: CatalogRow[] = []
  const unknown: SnapshotId[] = []
  for await (const id of repository.snapshotIds(options)) {
    const row = known.get(id)
    if (row) rows.push(row)
    else unknown.push(id)
  }
  if (rows.length < known.size) {
    const there = new Set(rows.map((row) => row.snapshot.id))
    catalog.remove([...known.keys()].filter((id) => !there.has(id)))
  }
  if (unknown.length === 0) return rows
  const read = await mapOrdered(unknown, readsAtOnce, (id) => readRow(repository, id, options))
  const fresh = read.filter((row) => row !== undefined)
  catalog.put(fresh.filter((row) => row.whole))
  return [...rows, ...fresh]
}

export async function readRow(
  repository: Repository,
  id: SnapshotId,
  options: EntriesOptions,
): Promise<(CatalogRow & { whole: boolean }) | undefined> {
  let snapshot: Snapshot
  try {
    snapshot = await repository.readSnapshot(id, options)
  } catch (error) {
    // Removed since it was listed, or damaged: the others are still the log.
    if (isFailure(error, 'not-found')) return undefined
    if (!isDamage(error)) throw error
    options.onLeftOut?.(id)
    options.reporter?.warn({
      warning: `An entry is left out, since its snapshot is damaged: ${messageOf(error)}; vml check --repair may find it again`,
    })
    return undefined
  }
  try {
    const document = await readEntryDocument(repository, snapshot, options)
    const lost =
      snapshot.tags.includes(lostTag) || document?.outcome === 'partial'
        ? await readLost(repository, snapshot, options)
        : []
    return { snapshot, facts: document && factsOf(document, lost), whole: true }
  } catch (error) {
    if (!isDamage(error) && !(error instanceof SyntaxError)) throw error
    options.onUnread?.(snapshot, messageOf(error))
    options.reporter?.warn({
      warning: `Cannot read what entry ${shortId(id)} says of itself: ${messageOf(error)}`,
    })
    return { snapshot, facts: undefined, whole: false }
  }
}

function factsOf(document: EntryDocument, lost: readonly LostPath[]): EntryFacts {
  const { kind, title, note, machine, project, number, mode, outcome, statistics, image } = document
  return {
    kind,
    title,
    note,
    machine,
    number,
    mode,
    outcome,
    statistics,
    ...(project === undefined ? {} : { project }),
    ...(document.facts.hostname === undefined ? {} : { host: document.facts.hostname }),
    ...(image === undefined ? {} : { image: `${image.name}@${image.version}` }),
    ...(lost.length === 0 ? {} : { lost: lostTotals(lost) }),
  }
}

/** Without VML's own documents, which no statistics count. */
export function lostTotals(lost: readonly LostPath[]): LostTotals {
  const totals = { files: 0, folders: 0, bytes: 0 }
  for (const { raw, type, size } of lost) {
    if (isVmlPath(raw)) continue
    totals[type === 'file' ? 'files' : 'folders']++
    if (type === 'file') totals.bytes += size ?? 0
  }
  return totals
}

function isVmlPath(raw: string): boolean {
  const path = Buffer.from(raw, 'base64').toString('latin1')
  return path === vmlFolder || path.startsWith(`${vmlFolder}/`)
}

/** Of several snapshots of one entry the last edit counts: highest revision, then one that names its original. */
export function chooseEntry(rows: readonly CatalogRow[]): LoggedEntry {
  const [chosen, ...others] = rows.toSorted(
    (left, right) =>
      revisionOf(right.snapshot) - revisionOf(left.snapshot) ||
      Number(right.snapshot.original !== undefined) - Number(left.snapshot.original !== undefined) ||
      (left.snapshot.id < right.snapshot.id ? 1 : -1),
  )
  if (!chosen) throw new TypeError('An entry without a snapshot reached the log')
  return toEntry(
    chosen,
    others.map((row) => row.snapshot.id),
  )
}

/** Tags and description win over the document, which tells what was so when the entry was saved. */
function toEntry({ snapshot, facts }: CatalogRow, twins: readonly SnapshotId[]): LoggedEntry {
  const numberText = tagValue(snapshot, numberTag)
  const number = numberText === undefined ? facts?.number : Number(numberText)
  const project =
    tagValue(snapshot, /^vml:project=(.+)$/s) ?? (hasOwnTags(snapshot) ? undefined : facts?.project)
  const described = snapshot.description === undefined ? facts : splitDescription(snapshot.description)
  const kindTag = tagValue(snapshot, /^vml:kind=(.+)$/)
  const kind = kinds.find((each) => each === kindTag) ?? facts?.kind ?? 'foreign'
  return {
    id: entryIdOf(snapshot),
    snapshot,
    machine: snapshot.hostname || (facts?.machine ?? ''),
    kind,
    tags: snapshot.tags.filter((tag) => !tag.startsWith('vml:')),
    title: described?.title ?? '',
    note: described?.note ?? '',
    takenAt: new Date(snapshot.time),
    facts,
    twins,
    ...(number === undefined ? {} : { number }),
    ...(project === undefined ? {} : { project }),
  }
}

/** False where another program replaced all tags: then the document is asked for what they said. */
export function hasOwnTags(snapshot: Snapshot): boolean {
  return snapshot.tags.some((tag) => tag.startsWith('vml:') && tag !== lostTag)
}

function tagValue(snapshot: Snapshot, pattern: RegExp): string | undefined {
  for (const tag of snapshot.tags) {
    const value = pattern.exec(tag)?.[1]
    if (value !== undefined) return value
  }
  return undefined
}

function compareEntries(left: LoggedEntry, right: LoggedEntry): number {
  return (
    left.takenAt.getTime() - right.takenAt.getTime() ||
    (left.number ?? 0) - (right.number ?? 0) ||
    (left.id < right.id ? -1 : 1)
  )
}
