// `vml check --repair`: a plan of what can be made whole and what is lost, and carrying it out. Entries that lost something are
// written anew without it, under their old ids and numbers; what nobody can bring back is named.
import { VmlError } from '../base/failure.ts'
import { printable, type RawText } from '../base/raw-text.ts'
import type { Reporter } from '../base/progress.ts'
import type { Entry, Snapshot } from '../model/entry.ts'
import { type EntryId, parseId, type SnapshotId } from '../model/ids.ts'
import { rootPath } from '../model/raw-path.ts'
import type { DamagedPack, Repair, RepairOptions, RepairSurvey } from '../store/repair.ts'
import { entryIdOf, listEntries, lostTag, type OpenLogbook } from './entries.ts'
import { type DamageFinder, openDamageFinder } from './repair-damage.ts'
import { type Recovered, recoverSnapshots } from './repair-recover.ts'
import { rewriteEntry } from './repair-rewrite.ts'

export interface RepairQuestion extends Pick<RepairOptions, 'readData' | 'heal' | 'keepCopy'> {
  /** Only plans: other programs may go on writing. */
  readonly look: boolean
  readonly reporter: Reporter
  readonly signal?: AbortSignal | undefined
}

export interface EntryRepair {
  readonly entry: EntryId
  readonly number: number | null
  readonly title: string
  /** The file that is replaced; null where a lost one is written anew. */
  readonly snapshot: SnapshotId | null
  /** Where a damaged snapshot file was found again. */
  readonly recoveredFrom?: 'catalogue' | 'tree'
  readonly lostFiles: number
  readonly lostFolders: number
  /** Bytes of the lost files; of lost folders nothing is known. */
  readonly lostBytes: number
  /** The first of them. */
  readonly lost: readonly {
    readonly path: string
    readonly type: 'file' | 'folder'
    readonly size?: number
  }[]
}

/** Plain data: what `--dry-run` prints. */
export interface RepairPlan {
  readonly packs: readonly DamagedPack[]
  readonly damagedIndexes: RepairSurvey['damagedIndexes']
  readonly wrongIndexes: RepairSurvey['wrongIndexes']
  readonly damagedKeys: RepairSurvey['damagedKeys']
  readonly damagedSnapshots: RepairSurvey['damagedSnapshots']
  /** Packs that no index names and that entries need. */
  readonly packsToIndex: number
  readonly entries: readonly EntryRepair[]
  /** Damaged snapshot files of which it is not known what they were. */
  readonly unknownSnapshots: readonly SnapshotId[]
  /** Folders of entries that are stored whole and that VML cannot read; they stay as they are. */
  readonly unreadableTrees: number
  readonly bytesRead: number
  readonly changes: boolean
  /** Whether anything that was saved cannot be read any more. */
  readonly loses: boolean
}

export interface OpenRepair extends AsyncDisposable {
  readonly plan: RepairPlan
  run(): Promise<RepairOutcome>
}

export interface RepairOutcome {
  readonly entries: readonly EntryId[]
  readonly storedBytes: number
  readonly aside: readonly { readonly kind: string; readonly name: string; readonly place?: string }[]
  /** The key file that opened the logbook has this name now. */
  readonly keyId: string
}

/** More lost paths than these are counted only; `/.vml/lost.json` has them all. */
const pathsMax = 1000

interface Job {
  readonly snapshot: Snapshot
  readonly replaces: SnapshotId | undefined
  readonly recovered: Recovered | undefined
}

/** Holds the logbook alone until it is disposed, unless it only looks. */
export async function openRepair(logbook: OpenLogbook, question: RepairQuestion): Promise<OpenRepair> {
  const { repository, catalog } = logbook
  const { reporter, signal } = question
  if (repository.readOnly && !question.look)
    throw new VmlError('unsupported', `Cannot repair "${repository.location}": it is read only`, {
      hint: 'vml check --repair --dry-run tells what a repair would do',
    })
  const known = catalog.rows()
  const repair = await repository.beginRepair(question)
  try {
    const finder = openDamageFinder(repair, { reporter, signal })
    const { recovered, unknown } = await recoverSnapshots(repair, {
      known: (id) => known.get(id)?.snapshot,
      signal,
    })
    const names = await namesOf(logbook, signal)
    const entries: EntryRepair[] = []
    const jobs: Job[] = []
    for (const job of [...repair.snapshots.map(asJob), ...recovered.map(asRecoveredJob)]) {
      const damage = await finder.find(job.snapshot.tree)
      if (damage === undefined && !job.recovered) continue
      jobs.push(job)
      entries.push(await describe(job, finder, names))
    }
    const plan = planOf(repair, { entries, unknown, unread: finder.unread })
    return {
      plan,
      run: async () => await runRepair(logbook, { repair, finder, jobs, plan, question }),
      [Symbol.asyncDispose]: async () => await repair[Symbol.asyncDispose](),
    }
  } catch (error) {
    await repair[Symbol.asyncDispose]()
    throw error
  }
}

function asJob(snapshot: Snapshot): Job {
  return { snapshot, replaces: snapshot.id, recovered: undefined }
}

function asRecoveredJob(recovered: Recovered): Job {
  // Only until it is written; one without a known id is an entry of its own.
  const id = recovered.id ?? noSnapshot
  return { snapshot: { ...recovered.snapshot, id }, replaces: undefined, recovered }
}

const noSnapshot = parseId<SnapshotId>('0'.repeat(64)) as SnapshotId

function planOf(
  repair: Repair,
  {
    entries,
    unknown,
    unread,
  }: {
    readonly entries: readonly EntryRepair[]
    readonly unknown: readonly SnapshotId[]
    readonly unread: number
  },
): RepairPlan {
  const { packs, damagedIndexes, wrongIndexes, damagedKeys, damagedSnapshots, bytesRead } = repair.survey
  const packsToIndex = repair.unindexedNeeded
  return {
    packs,
    damagedIndexes,
    wrongIndexes,
    damagedKeys,
    damagedSnapshots,
    packsToIndex,
    entries,
    unknownSnapshots: unknown,
    unreadableTrees: unread,
    bytesRead,
    changes:
      packs.length > 0 ||
      damagedIndexes.length > 0 ||
      wrongIndexes.length > 0 ||
      damagedKeys.length > 0 ||
      damagedSnapshots.length > 0 ||
      packsToIndex > 0 ||
      entries.length > 0,
    loses: unknown.length > 0 || entries.some(({ lostFiles, lostFolders }) => lostFiles + lostFolders > 0),
  }
}

async function describe(
  { snapshot, replaces, recovered }: Job,
  finder: DamageFinder,
  names: ReadonlyMap<EntryId, Entry>,
): Promise<EntryRepair> {
  const entry = entryIdOf(snapshot)
  const lost: EntryRepair['lost'][number][] = []
  const count = { file: 0, folder: 0, bytes: 0 }
  const add = (path: RawText, type: 'file' | 'folder', size?: number) => {
    count[type]++
    count.bytes += size ?? 0
    if (lost.length < pathsMax)
      lost.push({ path: printable(path), type, ...(size === undefined ? {} : { size }) })
  }
  if ((await finder.find(snapshot.tree)) === 'gone') add(rootPath, 'folder')
  for await (const { path, node } of finder.lostBelow(snapshot.tree))
    add(path, node.subtree === undefined ? 'file' : 'folder', node.size)
  const name = names.get(entry)
  return {
    entry,
    number: name?.number ?? numberOf(snapshot),
    title: name?.title ?? snapshot.description?.split('\n')[0] ?? '',
    snapshot: replaces ?? null,
    ...(recovered ? { recoveredFrom: recovered.from } : {}),
    lostFiles: count.file,
    lostFolders: count.folder,
    lostBytes: count.bytes,
    lost,
  }
}

function numberOf({ tags }: Snapshot): number | null {
  const tag = tags.find((each) => each.startsWith('vml:n='))
  return tag === undefined ? null : Number(tag.slice(6)) || null
}

/** For people; where the log itself cannot be read, ids must do. */
async function namesOf(logbook: OpenLogbook, signal: AbortSignal | undefined): Promise<Map<EntryId, Entry>> {
  const entries = await listEntries(logbook, { signal }).catch(() => [])
  return new Map(entries.map((entry) => [entry.id, entry]))
}

interface Run {
  readonly repair: Repair
  readonly finder: DamageFinder
  readonly jobs: readonly Job[]
  readonly plan: RepairPlan
  readonly question: RepairQuestion
}

async function runRepair(
  { repository, catalog }: OpenLogbook,
  { repair, finder, jobs, plan, question }: Run,
): Promise<RepairOutcome> {
  const { reporter, signal } = question
  const replaced: SnapshotId[] = []
  const { snapshots, storedBytes, aside } = await repair.run(
    {
      async store(target) {
        const added: Omit<Snapshot, 'id'>[] = []
        for (const [filesDone, { snapshot, replaces, recovered }] of jobs.entries()) {
          reporter.progress({ phase: 'writing entries anew', filesDone, filesTotal: jobs.length })
          const tree = await rewriteEntry({ repair, finder, target }, snapshot)
          const next = rewritten(snapshot, tree, {
            known: recovered?.id !== undefined || replaces !== undefined,
          })
          // There already, from a repair that was cut off.
          const isThere = [...repair.snapshots, ...added].some(
            (other) => other.tree === tree && other.original === next.original && other.time === next.time,
          )
          if (!isThere) added.push(next)
          if (replaces !== undefined) replaced.push(replaces)
        }
        return { added, replaced }
      },
    },
    { signal },
  )
  catalog.remove([...replaced, ...plan.damagedSnapshots.map(({ id }) => id)])
  const renamed = plan.damagedKeys.find(({ id }) => id === repository.keyId)?.renamedTo
  return {
    entries: snapshots.map(entryIdOf),
    storedBytes,
    aside,
    keyId: renamed ?? repository.keyId,
  }
}

/** Number, id, title and time stay; the revision too, so that of several snapshots of an entry the same one goes on to count. */
function rewritten(
  { id, ...fields }: Snapshot,
  tree: Snapshot['tree'],
  { known }: { readonly known: boolean },
): Omit<Snapshot, 'id'> {
  const original = fields.original ?? (known ? id : undefined)
  const marked =
    tree === fields.tree || fields.tags.includes(lostTag) ? fields.tags : [...fields.tags, lostTag]
  return { ...fields, tree, tags: marked, ...(original === undefined ? {} : { original }) }
}
