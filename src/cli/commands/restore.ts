// `vml restore`: an entry, or a part of it, goes back.
import { mkdir, readdir, realpath } from 'node:fs/promises'
import { findMachine } from '../../app/config.ts'
import type { Logbook } from '../../app/open.ts'
import { openBase } from '../../app/save-base.ts'
import { openMachine } from '../../app/open-machine.ts'
import { isOwnRestore, noteOwnRestore } from '../../app/restored-folders.ts'
import { systemLogbook } from '../../app/system-logbook.ts'
import { typedPath } from '../../app/working-folder.ts'
import { FAILURES, systemErrorCode, VmlError } from '../../base/failure.ts'
import { printableText, rawFromString } from '../../base/raw-text.ts'
import {
  entryName,
  isImported,
  listEntries,
  type LoggedEntry,
  nextEntryNumber,
} from '../../engine/entries.ts'
import { findEntry } from '../../engine/look.ts'
import {
  cacheParts,
  carryOut,
  environmentPath,
  environmentScript,
  mapBelow,
  mapHome,
  prepareEntryRestore,
  type RebuiltFile,
  requireState,
} from '../../engine/restore-entry.ts'
import { type DamagedPath, damagedFacts, requireReadable } from '../../engine/restore-damage.ts'
import { warnOfForeignHost } from '../../engine/other-host.ts'
import { readForRestore, requireDocument, type RestoreDocuments } from '../../engine/restore-documents.ts'
import type { MissingPath } from '../../engine/restore-missing.ts'
import type { Destination } from '../../engine/restore-request.ts'
import type { OpenMachine, Saved } from '../../engine/save.ts'
import { vmlPath } from '../../engine/vml-path.ts'
import type { Machine } from '../../model/machine.ts'
import { isWithin, parseRawPath, type RawPath } from '../../model/raw-path.ts'
import type { Attributes } from '../../model/tree.ts'
import {
  choice,
  type Context,
  defineCommand,
  dryRun,
  flag,
  operand,
  type Operand,
  text,
  texts,
} from '../command.ts'
import { formatBytes, plural } from '../format.ts'
import { noteMissing, printOutcome, printPlan } from '../print-restore.ts'
import { keepPrunesOut } from '../read-lock.ts'

const machineOperand: Operand = {
  name: 'MACHINE',
  description: 'where to (default: the machine that the entry came from)',
  required: false,
  complete: 'machine',
}

export const command = defineCommand({
  description:
    'Puts an entry back, or one path of it. First what is there is kept in a safety entry; then only what differs is sent; then everything written is read back and compared. Nothing is deleted without --delete.',
  operands: [operand('ENTRY', 'an entry, or ENTRY:/path', 'entry'), machineOperand],
  options: {
    to: text('--to <dir>', 'a folder of this host instead, or a file FILE.tar', 'folder'),
    overwrite: choice('--overwrite <when>', 'what is there already', [
      'always',
      'if-changed',
      'if-newer',
      'never',
    ]),
    delete: flag('--delete', 'make it exact: delete what the entry does not have'),
    env: flag('--env', 'also write the environment variables as a file to source'),
    cache: texts('--cache <name>', 'of the cache parts restore only this one'),
    withoutCache: flag('--without-cache', 'leave the cache parts out'),
    dryRun,
  },
  examples: [
    { line: 'vml restore 41:/home/lab/fit.C', does: 'one file, back to where it was' },
    { line: 'vml restore thesis@latest --delete --dry-run', does: 'what a switch to a project would change' },
    { line: 'vml restore 41 --to ./old', does: 'everything, below a folder of this host' },
  ],
  async run(context, { operands: [typed = '', machineName], options }) {
    context.whenCancelled('nothing that was there was changed')
    const logbook = await context.openLogbook()
    await using _lock = await keepPrunesOut(context, logbook.repository, 'careful')
    const { entry, path } = await findEntry(logbook, typed, context)
    const details = await readForRestore(logbook.repository, entry, { ...context, variables: options.env })
    const paths = path === undefined ? [] : [path]
    const rebuilt = await rebuiltOf(context, logbook, { entry, path })
    if (rebuilt.length > 0) requirePlainRestore(options)
    if (machineName !== undefined && options.to !== undefined) {
      throw new VmlError('usage', 'Cannot restore to a machine and to a folder at once', {
        hint: 'Give one of them',
      })
    }
    const caches = options.withoutCache ? 'none' : options.cache.length > 0 ? options.cache : 'all'
    if (options.withoutCache && options.cache.length > 0) {
      throw new VmlError('usage', 'Cannot restore a cache part and leave all of them out', {
        hint: 'Give one of --cache and --without-cache',
      })
    }
    if (options.delete) requireDocument(details, 'tell what must stay with --delete')
    if (caches !== 'all') requireDocument(details, 'leave cache parts out')
    if (options.to !== undefined && options.to.endsWith('.tar')) {
      const { delete: remove, env, overwrite } = options
      const idle = remove ? 'delete' : env ? 'env' : overwrite === undefined ? undefined : 'overwrite'
      if (idle !== undefined) {
        throw new VmlError('usage', `Cannot use --${idle} with an archive`, {
          hint: 'Nothing was written. An archive is made anew; the variables are in it, in .vml/environment.json',
        })
      }
      const without = details.document ? cacheParts(details.document, caches) : []
      const file = typedPath(context.config, options.to)
      return await writeArchive(context, logbook, { details, paths, without, file, dryRun: options.dryRun })
    }
    if (options.to !== undefined) refuseOtherArchive(options.to)
    // Before a folder is made for it.
    requireState({ entry, document: details.document, paths })
    const startedAt = context.clock.now()
    const target =
      options.to === undefined
        ? await openTarget(context, logbook, details, machineName)
        : await openFolder(context, options.to, { paths, remove: options.delete, dryRun: options.dryRun })
    const { open, destination } = target
    const prepared = await prepareEntryRestore({
      repository: logbook.repository,
      entry,
      document: details.document,
      unread: details.unread,
      paths,
      destination,
      ownPaths: open.ownPaths,
      caches,
      rebuilt,
      overwrite: options.overwrite ?? 'always',
      remove: options.delete,
      extras: options.env ? environmentExtra(details, target.environmentFolder, open) : [],
      reporter: context.reporter,
      signal: context.signal,
    })
    printPlan(context, prepared, target.notes, options.dryRun)
    if (options.dryRun) {
      requireReadable(prepared.damaged, { label: destination.label, kept: 'Nothing was changed' })
      return statusOf(prepared.missing)
    }
    // Before the first byte: a restore that is cut off must be able to go on with --delete.
    if (target.folder !== undefined && target.isOurs) await noteOwnRestore(context.config, target.folder)
    const { report, safety, damaged, kept } = await carryOut(prepared, (endangered) =>
      keepSafety(context, logbook, open, endangered, `Before restore of ${entryName(entry)}`),
    )
    const durationMs = context.clock.now() - startedAt
    const { name } = open.machine
    const isKnown =
      context.config.machines.has(name) || (await thisMachine(context, logbook.location, name)) !== undefined
    const back = (number: number) =>
      `${isKnown ? '' : `vml machine add ${name} local: && `}vml restore ${number}`
    printOutcome(context, { prepared, safety, report, damaged, back, durationMs })
    requireReadable(damaged, { label: destination.label, kept })
    return statusOf(prepared.missing)
  },
})

/** The tree of a transaction's entry has what is kept as content only. */
async function rebuiltOf(
  context: Context,
  logbook: Logbook,
  { entry, path }: { readonly entry: LoggedEntry; readonly path: RawPath | undefined },
): Promise<readonly RebuiltFile[]> {
  if (entry.kind !== 'transaction' || path === undefined || isWithin(path, vmlPath)) return []
  const { rebuildFiles } = await import('../../app/recorded-files.ts')
  return await rebuildFiles(context, logbook, { entry, path })
}

/** They are written whole, and compared with nothing that is there. */
function requirePlainRestore({
  to,
  overwrite,
}: {
  readonly to: string | undefined
  readonly overwrite: string | undefined
}): void {
  const idle = to?.endsWith('.tar')
    ? 'an archive'
    : overwrite === undefined || overwrite === 'always'
      ? undefined
      : `--overwrite ${overwrite}`
  if (idle === undefined) return
  throw new VmlError(
    'unsupported',
    `Cannot use ${idle} with a file that is kept as a difference or a package`,
    {
      hint: 'Nothing was written. Restore it into a folder: --to DIR',
    },
  )
}

/** What the entry never had, or lost, is not restored: nobody may take that for all of it. */
function statusOf(missing: readonly MissingPath[]): number {
  return missing.length > 0 ? FAILURES.partial.exit : 0
}

async function writeArchive(
  context: Context,
  { repository }: Logbook,
  request: {
    readonly details: RestoreDocuments
    readonly paths: readonly RawPath[]
    readonly without: readonly RawPath[]
    readonly file: string
    readonly dryRun: boolean
  },
): Promise<number> {
  const { out, reporter, signal } = context
  const { details, paths, without, file, dryRun: dry } = request
  const { entry, document, unread } = details
  const [{ requireFree, writeEntryTar }, { missingFacts, missingWithin, readMissing }] = await Promise.all([
    import('../../engine/restore-tar.ts'),
    import('../../engine/restore-missing.ts'),
  ])
  if (dry) await requireFree(file)
  const missing = missingWithin(await readMissing(repository, { entry, document, unread }, context), request)
  const written = dry
    ? undefined
    : await writeEntryTar({
        repository,
        tree: entry.snapshot.tree,
        entryName: entryName(entry),
        paths,
        without,
        file,
        reporter,
        signal,
      })
  const label = printableText(file)
  out.line(
    written
      ? `Wrote ${plural(written.paths, 'path')} (${formatBytes(written.bytes)}) to ${label}`
      : `Would write ${entryName(entry)} to ${label}`,
  )
  noteMissing(out, missing)
  const damaged = withUnread(written?.damaged ?? [], unread)
  out.document({
    schema: 1,
    dry_run: dry,
    file,
    ...(written ? { paths: written.paths, bytes: written.bytes } : {}),
    damaged: damagedFacts(damaged),
    missing: missingFacts(missing),
  })
  requireReadable(damaged, { label, kept: 'The archive is without them' })
  return statusOf(missing)
}

function withUnread(
  damaged: readonly DamagedPath[],
  unread: DamagedPath | undefined,
): readonly DamagedPath[] {
  return unread === undefined || damaged.some(({ path }) => path === unread.path)
    ? damaged
    : [unread, ...damaged]
}

interface Target {
  readonly open: OpenMachine
  readonly destination: Destination
  readonly notes: readonly string[]
  readonly environmentFolder: RawPath
  /** Of this host, with --to. */
  readonly folder?: string
  /** The folder was empty, or a restore made it: whatever is in it afterwards is a restore's. */
  readonly isOurs?: boolean
}

async function openTarget(
  context: Context,
  { location }: Logbook,
  details: RestoreDocuments,
  name: string | undefined,
): Promise<Target> {
  const isForeign = isImported(details.entry)
  if (name === undefined && isForeign) {
    throw new VmlError(
      'usage',
      `Cannot tell where ${entryName(details.entry)} goes: it was imported, from somebody else's machine`,
      {
        hint: 'Nothing was changed. Name a machine of yours, or a folder with --to DIR; vml open runs it',
      },
    )
  }
  const wanted = name ?? details.entry.machine
  // Often a new computer, where nothing is known yet: a folder is what everybody has.
  const machine =
    (isForeign ? undefined : await thisMachine(context, location, wanted)) ??
    findMachine(
      context.config,
      wanted,
      'Nothing was changed. A folder of this host takes it as well: --to DIR',
    )
  if (machine.name !== details.entry.machine)
    requireDocument(details, `tell whose home goes where on ${machine.name}`)
  const open = await openMachine(context, machine)
  const { user } = open.facts
  const sameMachine = machine.name === details.entry.machine && !isForeign
  if (sameMachine && machine.address.kind === 'local') warnOfForeignHost(details, open, context.reporter)
  const { map, mapOwner, describe } = mapHome(details.document, user)
  return {
    open,
    environmentFolder: user.home,
    notes: describe,
    destination: {
      source: open.source,
      label: machine.name,
      map,
      owners: user.uid === 0,
      mapOwner,
      sameMachine: sameMachine && map.renames.length === 0,
    },
  }
}

/** Whoever types the name of a packed archive does not want a folder of that name. */
function refuseOtherArchive(to: string): void {
  const ending = /\.(?:tar\.[a-z0-9]{1,4}|tgz|tbz2?|txz|tzst|zip)$/i.exec(to)?.[0]
  if (ending === undefined) return
  throw new VmlError('usage', `Cannot write "${printableText(to)}": an archive is written as .tar only`, {
    hint: `Nothing was written. Name it ${printableText(to.slice(0, -ending.length))}.tar and pack it afterwards; for a folder of that name add a slash at the end`,
  })
}

/** A folder of this host. With --delete only an empty one, or one that a restore made: nothing of anybody else's is in it. */
async function openFolder(
  context: Context,
  typed: string,
  { paths, remove, dryRun: dry }: { paths: readonly RawPath[]; remove: boolean; dryRun: boolean },
): Promise<Target> {
  const wanted = typedPath(context.config, typed)
  const there = await readdir(wanted).catch((error: unknown) => {
    const code = systemErrorCode(error)
    if (code === 'ENOENT') return undefined
    if (code === 'ENOTDIR') {
      throw new VmlError(
        'usage',
        `Cannot restore to "${printableText(wanted)}": it is a file, or lies below one`,
        {
          cause: error,
          hint: 'Nothing was changed. Name a folder, or FILE.tar for an archive',
        },
      )
    }
    throw new VmlError(
      'usage',
      `Cannot restore to "${printableText(wanted)}": it is not a folder that can be read`,
      { cause: error },
    )
  })
  const isOurs = there === undefined || there.length === 0 || (await isOwnRestore(context.config, wanted))
  if (remove && !isOurs) {
    throw new VmlError(
      'conflict',
      `Cannot use --delete in "${printableText(wanted)}": it has content that no restore made`,
      {
        hint: 'Nothing was changed. Choose an empty folder, or leave --delete out',
      },
    )
  }
  if (there === undefined && !dry) await mkdir(wanted, { recursive: true, mode: 0o700 })
  const folder = there === undefined && dry ? wanted : await realpath(wanted)
  const raw = parseRawPath(rawFromString(folder))
  if (raw === undefined) throw new VmlError('usage', `Cannot restore to "${printableText(folder)}"`)
  const machine: Machine = localMachine(context)
  const open = await openMachine(context, machine)
  const own = open.ownPaths.find(({ path }) => isWithin(raw, path))
  if (own) {
    throw new VmlError('conflict', `Cannot restore into "${printableText(folder)}": that is ${own.what}`, {
      hint: 'Nothing was changed. Choose another folder',
    })
  }
  return {
    open,
    folder,
    isOurs,
    environmentFolder: raw,
    notes: [],
    destination: {
      source: open.source,
      label: folder,
      map: mapBelow(raw, paths),
      owners: open.facts.user.uid === 0,
      mapOwner: (node) => node,
      sameMachine: false,
    },
  }
}

/** Of the machine's own logbook nobody has to say which machine it is; one that was given that name by hand is meant all the same. */
async function thisMachine(
  { config }: Context,
  location: string,
  name: string,
): Promise<Machine | undefined> {
  if (location !== systemLogbook || config.machines.has(name)) return undefined
  const { isRecordedAs } = await import('../../app/transactions.ts')
  return isRecordedAs(config, name) ? { name, address: { kind: 'local' } } : undefined
}

/** This host under the name that the user gave it, or its own. */
function localMachine(context: Context): Machine {
  for (const machine of context.config.machines.values()) if (machine.address.kind === 'local') return machine
  return { name: 'this-host', address: { kind: 'local' } }
}

async function keepSafety(
  context: Context,
  logbook: Logbook,
  open: OpenMachine,
  paths: readonly RawPath[],
  title: string,
): Promise<Saved> {
  const entries = await listEntries(logbook, context)
  // Into a folder, and where nothing changes, nothing is saved.
  const { chooseBase, saveSafety } = await import('../../engine/save.ts')
  const entry = chooseBase(entries, open.machine.name, 'incremental')
  return await saveSafety(
    {
      open,
      repository: logbook.repository,
      base: await openBase(context, logbook.repository, entry),
      nextNumber: () => nextEntryNumber(logbook, context),
      clock: context.clock,
      reporter: context.reporter,
      signal: context.signal,
    },
    paths,
    { title },
  )
}

function environmentExtra(details: RestoreDocuments, folder: RawPath, open: OpenMachine) {
  if (!details.variables) {
    throw new VmlError(
      'not-found',
      `Cannot write the variables of ${entryName(details.entry)}: it has none`,
      {
        hint: 'Nothing was changed. Only entries that vml save made have them',
      },
    )
  }
  const bytes = environmentScript(details.variables, entryName(details.entry))
  const { uid, gid } = open.facts.user
  const attributes: Attributes = {
    type: 'file',
    mode: 0o600,
    uid,
    gid,
    mtimeNs: BigInt(details.entry.takenAt.getTime()) * 1_000_000n,
    size: bytes.length,
  }
  return [{ path: environmentPath(folder), bytes, attributes }]
}
