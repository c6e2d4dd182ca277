// Two small logbooks and entries in them, for tests of copies between the two.
import type { Backend } from '../src/backend/backend.ts'
import { openMemory } from '../src/backend/memory.ts'
import { silentReporter } from '../src/base/progress.ts'
import { openCatalog } from '../src/catalog/catalog.ts'
import { type CopyContext, type CopyPlan, type CopyResult, planCopy, runCopy } from '../src/engine/copy.ts'
import { planHeals } from '../src/engine/copy-heal.ts'
import { listEntries, type LoggedEntry, type OpenLogbook } from '../src/engine/entries.ts'
import type { Snapshot } from '../src/model/entry.ts'
import type { TreeId } from '../src/model/ids.ts'
import type { TreeNode } from '../src/model/tree.ts'
import type { Repository, Writer } from '../src/store/store.ts'
import {
  fakeClock,
  fileNode,
  folderNode,
  makeRepository,
  reopen,
  snapshotOf,
  storeFile,
} from './store-fixture.ts'

export const packBytes = 200_000

export interface TestLogbook extends OpenLogbook {
  readonly files: Map<string, Buffer>
}

/** Cut by the same polynomial, so that blobs of one are blobs of the other. */
export async function makeLogbook(polynomial?: bigint): Promise<TestLogbook> {
  const clock = fakeClock()
  const { repository, files } = await makeRepository({
    packBytes,
    clock,
    ...(polynomial === undefined ? {} : { polynomial }),
  })
  return { repository, files, catalog: openCatalog(':memory:') }
}

/** As another process opens it, over a backend that may be told to fail. */
export async function openLogbookAgain(
  files: Map<string, Buffer>,
  wrap: (backend: Backend) => Backend = (backend) => backend,
): Promise<TestLogbook> {
  const repository = await reopen(wrap(openMemory({ files })), { packBytes, clock: fakeClock() })
  return { repository, files, catalog: openCatalog(':memory:') }
}

export interface TestEntryOf {
  readonly number?: number
  readonly day: number
  readonly machine?: string
  /** Content by path, such as `home/a`. */
  readonly files: Readonly<Record<string, Uint8Array>>
  readonly tags?: readonly string[]
  readonly parent?: Snapshot['id']
}

export async function saveEntry(repository: Repository, entry: TestEntryOf): Promise<Snapshot> {
  await using writer = await repository.beginWrite()
  const tree = await storeFolder(writer, entry.files)
  const { number, day, machine = 'lab', parent } = entry
  return await writer.commit({
    ...snapshotOf(tree, [
      ...(number === undefined ? [] : [`vml:n=${number}`, 'vml:kind=environment']),
      ...(entry.tags ?? []),
    ]),
    time: `2026-11-${String(day).padStart(2, '0')}T10:00:00.123456789+01:00`,
    hostname: machine,
    description: `entry of day ${day}`,
    ...(parent === undefined ? {} : { parent }),
  })
}

export async function storeFolder(
  writer: Writer,
  files: Readonly<Record<string, Uint8Array>>,
): Promise<TreeId> {
  const nodes: TreeNode[] = []
  const folders = new Map<string, Record<string, Uint8Array>>()
  for (const [path, content] of Object.entries(files)) {
    const [name = '', ...rest] = path.split('/')
    if (rest.length === 0) nodes.push(fileNode(name, await storeFile(writer, content)))
    else folders.set(name, { ...folders.get(name), [rest.join('/')]: content })
  }
  for (const [name, inside] of folders) nodes.push(folderNode(name, await storeFolder(writer, inside)))
  return await writer.storeTree(nodes)
}

export async function copyContext(from: OpenLogbook, into: OpenLogbook): Promise<CopyContext> {
  return {
    from,
    into,
    source: await listEntries(from),
    present: await listEntries(into),
    reporter: silentReporter,
  }
}

/** Copies all entries, or those that are chosen. */
export async function copyAll(
  from: OpenLogbook,
  into: OpenLogbook,
  choose: (entry: LoggedEntry) => boolean = () => true,
  options: Partial<Pick<CopyPlan, 'imported'>> = {},
): Promise<CopyResult> {
  const context = await copyContext(from, into)
  const plan = planCopy(context.source.filter(choose), { ...context, ...options })
  return await runCopy(await planHeals(plan, context), context)
}
