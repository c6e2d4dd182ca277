// Entries for tests that look at them: made with the store itself, without a machine.
import { openLogbook } from '../src/app/open.ts'
import { readConfig } from '../src/app/config.ts'
import { rawFromString } from '../src/base/raw-text.ts'
import { listEntries, nextEntryNumber, ownTags } from '../src/engine/entries.ts'
import { storeVmlFolder } from '../src/engine/vml-folder.ts'
import { encodeEntryDocument, encodeEnvironment, encodePackages } from '../src/model/documents.ts'
import type { EntryDocument, EntryKind, Snapshot } from '../src/model/entry.ts'
import type { TreeId } from '../src/model/ids.ts'
import type { InstalledPackage } from '../src/model/packages.ts'
import type { RawName } from '../src/model/raw-path.ts'
import type { TreeNode } from '../src/model/tree.ts'
import type { Writer } from '../src/store/store.ts'
import { vmlEnvironment, type TestHome } from './cli.ts'
import { fullFidelity } from './fidelity.ts'

export interface TestEntry {
  readonly machine?: string
  readonly title: string
  readonly note?: string
  readonly kind?: EntryKind
  readonly project?: string
  readonly tags?: readonly string[]
  readonly number?: number
  readonly at: string
  /** Content by absolute path, bytes as characters. */
  readonly files: Readonly<Record<string, string>>
  readonly variables?: Readonly<Record<string, string>>
  readonly packages?: readonly InstalledPackage[]
  /** As other programs write it. */
  readonly withoutDescription?: boolean
  readonly withoutTags?: boolean
  readonly original?: Snapshot['id']
  readonly image?: EntryDocument['image']
}

/** Adds an entry to the logbook of a test's home and returns its snapshot. */
export async function addEntry(home: TestHome, entry: TestEntry): Promise<Snapshot> {
  await using logbook = await openTestLogbook(home)
  const { repository } = logbook
  const number = entry.number ?? (await nextEntryNumber(logbook))
  const machine = entry.machine ?? 'lab'
  const kind = entry.kind ?? 'environment'
  await using writer = await repository.beginWrite()
  const document = documentOf(entry, { number, machine, kind })
  const folder = await storeVmlFolder(
    writer,
    [
      { name: 'entry.json', bytes: encodeEntryDocument(document) },
      {
        name: 'environment.json',
        bytes: encodeEnvironment(
          new Map(
            Object.entries(entry.variables ?? {}).map(([name, value]) => [
              rawFromString(name),
              rawFromString(value),
            ]),
          ),
        ),
      },
      { name: 'packages.json', bytes: encodePackages({ manager: 'dpkg', packages: entry.packages ?? [] }) },
      { name: 'history', files: [{ name: 'bash', bytes: Buffer.from('make fit\n') }] },
    ],
    Date.parse(entry.at),
  )
  const tree = await storeFiles(writer, nestedFrom(entry.files), [folder])
  const project = entry.project === undefined ? {} : { project: entry.project }
  const snapshot = await writer.commit({
    time: entry.at,
    tree,
    paths: ['/home/lab'],
    hostname: machine,
    username: 'lab',
    tags: entry.withoutTags ? [] : [...ownTags({ number, kind, ...project }), ...(entry.tags ?? [])],
    ...(entry.withoutDescription
      ? {}
      : { description: entry.note ? `${entry.title}\n\n${entry.note}` : entry.title }),
    ...(entry.original === undefined ? {} : { original: entry.original }),
  })
  await listEntries(logbook)
  return snapshot
}

/** The logbook as the program would open it from that home. */
export function openTestLogbook(home: TestHome) {
  const config = readConfig({}, { environment: vmlEnvironment(home), workingFolder: home.home })
  return openLogbook(config, { askSecret: () => Promise.resolve(undefined) })
}

interface Nested {
  readonly folders: Map<string, Nested>
  readonly files: Map<string, string>
}

function nestedFrom(files: Readonly<Record<string, string>>): Nested {
  const root: Nested = { folders: new Map(), files: new Map() }
  for (const [path, content] of Object.entries(files)) {
    const parts = path.slice(1).split('/')
    const name = parts.pop() ?? ''
    let at = root
    for (const part of parts) {
      const next = at.folders.get(part) ?? { folders: new Map(), files: new Map() }
      at.folders.set(part, next)
      at = next
    }
    at.files.set(name, content)
  }
  return root
}

async function storeFiles(writer: Writer, nested: Nested, more: readonly TreeNode[] = []): Promise<TreeId> {
  const nodes: TreeNode[] = [...more]
  for (const [name, content] of nested.files) {
    const sink = writer.openFile()
    await sink.write({ kind: 'data', bytes: Buffer.from(content, 'latin1') })
    const stored = await sink.finish()
    nodes.push({ ...attributes(name), type: 'file', mode: 0o644, size: stored.size, content: stored.content })
  }
  for (const [name, inner] of nested.folders)
    nodes.push({ ...attributes(name), type: 'dir', mode: 0o755, subtree: await storeFiles(writer, inner) })
  return await writer.storeTree(nodes)
}

function attributes(name: string) {
  return {
    name: name as RawName,
    uid: 1000,
    gid: 1000,
    user: rawFromString('lab'),
    group: rawFromString('lab'),
    mtimeNs: 1_793_700_000_000_000_000n,
  }
}

export function documentOf(
  entry: TestEntry,
  { number, machine, kind }: { number: number; machine: string; kind: EntryKind },
): EntryDocument {
  const home = { path: '/home/lab', raw: Buffer.from('/home/lab').toString('base64') }
  return {
    schema: 1,
    kind,
    title: entry.title,
    note: entry.note ?? '',
    machine,
    ...(entry.project === undefined ? {} : { project: entry.project }),
    number,
    mode: 'full',
    startedAt: entry.at,
    user: { name: 'lab', uid: 1000, gid: 1000, home: home.path, homeRaw: home.raw },
    roots: [{ ...home, why: 'home' }],
    ...(entry.image === undefined ? {} : { image: entry.image }),
    facts: { os: { PRETTY_NAME: 'Tiny Linux 1' }, kernel: '6.1.0', architecture: 'x86_64' },
    scan: { startedNs: '1793700000000000000', resolutionNs: 1 },
    fidelity: fullFidelity,
    rules: { exclude: [], defaults: true },
    excluded: [],
    problems: [],
    mounts: [],
    cvmfs: [],
    caches: [],
    outcome: 'complete',
    statistics: {
      files: Object.keys(entry.files).length,
      folders: 2,
      others: 0,
      bytes: 100,
      filesRead: 1,
      bytesRead: 100,
    },
  }
}
