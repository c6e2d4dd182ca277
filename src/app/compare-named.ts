// Compares two states by the names that a person gave: entries, or `now`, the machine as it is.
import type { Reporter } from '../base/progress.ts'
import { VmlError } from '../base/failure.ts'
import { compareEntries } from '../engine/compare.ts'
import { readContent } from '../engine/compare-content.ts'
import { entrySide, type Side } from '../engine/compare-side.ts'
import { entryName, entryWord, type LoggedEntry } from '../engine/entries.ts'
import { describeEntryFully, readPath } from '../engine/look.ts'
import { lookAtNow } from '../engine/now.ts'
import { chooseProven } from '../engine/proven-entries.ts'
import type { OpenMachine } from '../engine/save.ts'
import type { Comparison, FileChange } from '../model/compare.ts'
import { holdsPathsOnly } from '../model/entry.ts'
import { parseEntryPath, resolveEntry } from '../model/entry-reference.ts'
import { printable, printableText } from '../base/raw-text.ts'
import { isWithin, type RawPath } from '../model/raw-path.ts'
import { readTransaction } from '../transaction/transaction-entry.ts'
import type { Segment } from '../model/tree.ts'
import { findMachine } from './config.ts'
import type { Logbook } from './open.ts'
import { type MachineContext, openMachine } from './open-machine.ts'
import { isKeptOtherwise } from './recorded-files.ts'

export interface CompareContext extends MachineContext {
  readonly reporter: Reporter
}

export interface NamedComparison extends AsyncDisposable {
  readonly comparison: Comparison
  /** The content of a changed regular file on both sides; empty where a side does not have it. At most `bytesMax` and one byte. */
  contents(change: FileChange, bytesMax: number): Promise<{ readonly left: Buffer; readonly right: Buffer }>
}

interface Named {
  /** Undefined for `now`. */
  readonly entry: LoggedEntry | undefined
  readonly path: RawPath | undefined
}

export async function compareNamed(
  context: CompareContext,
  logbook: Logbook,
  request: { readonly left: string; readonly right: string; readonly times?: boolean },
): Promise<NamedComparison> {
  const { signal, reporter } = context
  const { repository } = logbook
  const [left, right] = await chooseProven(
    logbook,
    (entries) => [nameSide(entries, request.left), nameSide(entries, request.right)] as const,
    { signal, reporter, damaged: 'warn', entriesOf: (sides) => sides.flatMap(({ entry }) => entry ?? []) },
  )
  if (left.path !== undefined && right.path !== undefined && left.path !== right.path)
    throw new VmlError('usage', 'Cannot compare two different paths', {
      hint: 'Name one path; to compare two files use vml cat with diff',
    })
  const path = left.path ?? right.path
  const alone = left.entry && right.entry ? undefined : (left.entry ?? right.entry)
  if (alone) requireState(context, alone, path)
  for (const { entry } of [left, right])
    if (entry?.kind === 'transaction') await requireComparable(context, logbook, { entry, path })
  const known = left.entry ?? right.entry
  if (!known)
    throw new VmlError('usage', 'Cannot compare "now" with "now": one side must be an entry', {
      hint: 'For what is not saved yet: vml diff MACHINE@latest now',
    })
  const opened = new AsyncDisposableStack()
  try {
    const open =
      left.entry && right.entry
        ? undefined
        : opened.use(await openMachine(context, findMachine(context.config, known.machine)))
    const sideOf = async ({ entry }: Named) =>
      entry
        ? await openEntrySide(context, logbook, entry)
        : await openNowSide(context, logbook, { open, base: known })
    const comparison = await compareEntries({
      left: await sideOf(left),
      right: await sideOf(right),
      ...(path === undefined ? {} : { paths: [path] }),
      times: request.times ?? false,
      sameContent: readContent({ repository, ...(open ? { source: open.source } : {}), signal }),
      repository,
      signal,
    })
    const contentOf = async ({ entry }: Named, at: RawPath, bytesMax: number) =>
      entry
        ? await collect(await readPath(repository, { entry, path: at }, signal), bytesMax)
        : await readNow(open, at, bytesMax, signal)
    return {
      comparison,
      async contents(change, bytesMax) {
        const none = Buffer.alloc(0)
        return {
          left:
            change.left?.type === 'file' ? await contentOf(left, change.from ?? change.path, bytesMax) : none,
          right: change.right?.type === 'file' ? await contentOf(right, change.path, bytesMax) : none,
        }
      },
      [Symbol.asyncDispose]: () => opened.disposeAsync(),
    }
  } catch (error) {
    await opened.disposeAsync()
    throw error
  }
}

/** Its tree is no state: it has what single paths were before it, and of those only what is kept as content. */
async function requireComparable(
  context: CompareContext,
  logbook: Logbook,
  { entry, path }: { readonly entry: LoggedEntry; readonly path: RawPath | undefined },
): Promise<void> {
  const [name, word] = [entryName(entry), entryWord(entry)]
  if (path === undefined)
    throw new VmlError('usage', `Cannot compare all of ${name}: it is a transaction, and no state`, {
      hint: `vml tx show ${word} --paths tells what it did; with a path, what that was before it is compared: vml diff ${word}:/PATH`,
    })
  const other = (await readTransaction(logbook.repository, entry, context)).changes.find(
    (change) => isWithin(change.path, path) && isKeptOtherwise(change),
  )
  if (other === undefined) return
  const shown = printable(other.path)
  throw new VmlError(
    'unsupported',
    `Cannot compare "${shown}" of ${name}: it is kept as a difference or a package`,
    {
      hint: `Get both and compare them: ${catOf(context, `${word}:${shown}`)} >old`,
    },
  )
}

/** A machine is asked for what the entry includes. One that has single paths includes none: all would be told as gone, or as not compared. */
function requireState(context: CompareContext, entry: LoggedEntry, path: RawPath | undefined): void {
  if (!holdsPathsOnly(entry.kind)) return
  const [name, word] = [entryName(entry), entryWord(entry)]
  const what = path === undefined ? name : `"${printable(path)}" of ${name}`
  const shown = path === undefined ? '/PATH' : printable(path)
  throw new VmlError(
    'unsupported',
    `Cannot compare ${what} with now: ${name} has single paths, and no state`,
    {
      hint: `On the machine itself: ${catOf(context, `${word}:${shown}`)} | diff - ${shown}`,
    },
  )
}

/** Without the logbook that was named, a number would be of another one. */
function catOf({ config: { logbook } }: CompareContext, what: string): string {
  return `vml cat ${what}${logbook?.from.startsWith('--') ? ` --logbook ${printableText(logbook.value)}` : ''}`
}

function nameSide(entries: readonly LoggedEntry[], name: string): Named {
  const { entry: reference, typed, path } = parseEntryPath(name)
  return { entry: reference.kind === 'now' ? undefined : resolveEntry(entries, reference, typed), path }
}

async function openEntrySide(context: CompareContext, logbook: Logbook, entry: LoggedEntry): Promise<Side> {
  const { repository } = logbook
  const { signal } = context
  const { document, packages, variables, lost } = await describeEntryFully(repository, entry, { signal })
  return entrySide({
    label: entryName(entry),
    repository,
    tree: entry.snapshot.tree,
    signal,
    ...(document ? { document } : {}),
    lost,
    ...(packages ? { packages } : {}),
    ...(variables ? { environment: variables } : {}),
  })
}

async function openNowSide(
  context: CompareContext,
  logbook: Logbook,
  { open, base }: { readonly open: OpenMachine | undefined; readonly base: LoggedEntry },
): Promise<Side> {
  const { repository } = logbook
  const { signal, reporter } = context
  const { document } = await describeEntryFully(repository, base, { signal })
  if (!open || !document)
    throw new VmlError(
      'unsupported',
      `Cannot compare ${entryName(base)} with now: another program wrote it, and what it covers is not known`,
      {
        hint: 'Compare it with an entry of VML',
      },
    )
  const now = await lookAtNow({ open, repository, base: { entry: base, document }, reporter, signal })
  return now.side
}

async function readNow(
  open: OpenMachine | undefined,
  path: RawPath,
  bytesMax: number,
  signal: AbortSignal,
): Promise<Buffer> {
  if (!open) return Buffer.alloc(0)
  for await (const record of open.source.read([path], signal)) {
    if (record.kind === 'file' && record.attributes.type === 'file')
      return await collect(record.segments(), bytesMax)
    if (record.kind === 'problem')
      throw new VmlError('partial', `Cannot read a file of the machine: ${record.message}`)
  }
  return Buffer.alloc(0)
}

/** Reads on to the end, as sources ask for, and keeps one byte more than the limit: enough to know that it is passed. */
async function collect(segments: AsyncIterable<Segment>, bytesMax: number): Promise<Buffer> {
  const parts: Uint8Array[] = []
  let room = bytesMax + 1
  for await (const segment of segments) {
    if (room === 0) continue
    const length = Math.min(room, segment.kind === 'data' ? segment.bytes.length : segment.length)
    parts.push(
      segment.kind === 'data' ? Buffer.from(segment.bytes.subarray(0, length)) : Buffer.alloc(length),
    )
    room -= length
  }
  return Buffer.concat(parts)
}
