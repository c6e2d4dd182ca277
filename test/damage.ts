// Damage to a logbook, as disks and people do it, and what must hold for a repair after it.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import * as z from 'zod'
import { openMemory } from '../src/backend/memory.ts'
import { isFailure } from '../src/base/failure.ts'
import { silentReporter } from '../src/base/progress.ts'
import { openCatalog } from '../src/catalog/catalog.ts'
import { entryIdOf, listEntries, type OpenLogbook, ownTags } from '../src/engine/entries.ts'
import { openRepair, type RepairPlan, type RepairQuestion } from '../src/engine/repair.ts'
import { storeVmlFolder } from '../src/engine/vml-folder.ts'
import { encodeEntryDocument } from '../src/model/documents.ts'
import { parseLost } from '../src/model/lost.ts'
import type { TreeId } from '../src/model/ids.ts'
import type { TreeNode } from '../src/model/tree.ts'
import { initRepository } from '../src/store/repository.ts'
import type { Repository, Writer } from '../src/store/store.ts'
import { documentOf } from './entries.ts'
import {
  cheapKey,
  fakeClock,
  fileNode,
  folderNode,
  noise,
  password,
  reopen,
  storeFile,
} from './store-fixture.ts'
import { resticProgram } from './restic-peer.ts'

export type Files = Map<string, Buffer>

/** Three entries of a machine that share most files, and a snapshot of another program. */
export async function makeLogbook(): Promise<Files> {
  const files: Files = new Map()
  const repository = await initRepository({
    backend: openMemory({ files }),
    keys: [cheapKey, { ...cheapKey, password: Buffer.from('another') }],
    packBytes: 700_000,
    // With it the large files have more than one chunk each.
    polynomial: 0x3da3358b4dc173n,
  })
  for (const number of [1, 2, 3]) {
    const contents: Record<string, Buffer> = {
      'big.bin': noise(number === 3 ? 1_600_000 : 1_300_000, 'big'),
      'own.txt': Buffer.from(`only in entry ${number}\n`.repeat(number * 40)),
      'notes.txt': Buffer.from('the same in all\n'.repeat(300)),
      'empty.txt': Buffer.alloc(0),
    }
    await saveEntry(repository, number, contents)
  }
  await using writer = await repository.beginWrite()
  const nodes = [
    fileNode('foreign.txt', await storeFile(writer, Buffer.from('of another program\n'.repeat(99)))),
  ]
  const tree = await writer.storeTree([folderNode('srv', await writer.storeTree(nodes))])
  await writer.commit({
    time: '2026-11-20T09:00:00Z',
    tree,
    paths: ['/srv'],
    hostname: 'other',
    username: 'ann',
    tags: [],
  })
  return files
}

async function saveEntry(
  repository: Repository,
  number: number,
  contents: Readonly<Record<string, Buffer>>,
): Promise<void> {
  await using writer = await repository.beginWrite()
  const at = `2026-11-1${number}T10:00:00Z`
  const title = `entry ${number}`
  const document = documentOf({ title, at, files: {} }, { number, machine: 'lab', kind: 'environment' })
  const vml = await storeVmlFolder(
    writer,
    [{ name: 'entry.json', bytes: encodeEntryDocument(document) }],
    Date.parse(at),
  )
  const lab = folderNode('lab', await storeFolders(writer, contents))
  const home = folderNode('home', await writer.storeTree([lab]))
  await writer.commit({
    time: at,
    tree: await writer.storeTree([vml, home]),
    paths: ['/home/lab'],
    hostname: 'lab',
    username: 'lab',
    tags: ownTags({ number, kind: 'environment' }),
    description: title,
  })
}

async function storeFolders(writer: Writer, contents: Readonly<Record<string, Buffer>>): Promise<TreeId> {
  const nodes: TreeNode[] = []
  for (const [name, content] of Object.entries(contents))
    nodes.push(fileNode(name, await storeFile(writer, content)))
  const deep = fileNode('deep.txt', await storeFile(writer, Buffer.from('far down\n'.repeat(50))))
  nodes.push(
    folderNode('inner', await writer.storeTree([folderNode('most', await writer.storeTree([deep]))])),
  )
  return await writer.storeTree(nodes)
}

/** The logbook in these files, with a catalogue that knows what `known` had. */
export async function openDamaged(files: Files, known?: Files): Promise<OpenLogbook & AsyncDisposable> {
  const repository = await openAny(files)
  const catalog = openCatalog(':memory:')
  if (known) await listEntries({ repository: await openAny(known), catalog })
  return {
    repository,
    catalog,
    async [Symbol.asyncDispose]() {
      catalog[Symbol.dispose]()
      await repository[Symbol.asyncDispose]()
    },
  }
}

/** By whichever key is whole. */
export async function openAny(files: Files): Promise<Repository> {
  try {
    return await reopen(files, { clock: fakeClock() })
  } catch (error) {
    if (!isFailure(error)) throw error
    const { openRepository } = await import('../src/store/repository.ts')
    return await openRepository({
      backend: openMemory({ files }),
      secrets: [Buffer.from('another'), password],
      clock: fakeClock(),
    })
  }
}

/** Entry and path to the digest of what is there; `folder` for one whose tree can be read. */
export async function readEverything(repository: Repository): Promise<Map<string, string>> {
  const found = new Map<string, string>()
  const read = async (node: TreeNode): Promise<string | undefined> => {
    const digest = createHash('sha256')
    let bytes = 0
    try {
      for await (const segment of repository.readFile(node.content ?? [])) {
        const part = segment.kind === 'data' ? segment.bytes : Buffer.alloc(segment.length)
        digest.update(part)
        bytes += part.length
      }
    } catch (error) {
      if (isFailure(error)) return undefined
      throw error
    }
    assert.equal(bytes, node.size, 'a file has as many bytes as it says')
    return digest.digest('hex')
  }
  const walk = async (tree: TreeId, path: string): Promise<void> => {
    const nodes = await repository.readTree(tree).catch((error: unknown) => {
      if (!isFailure(error)) throw error
    })
    if (!nodes) return
    found.set(`${path}/`, 'folder')
    for (const node of nodes) {
      const inner = `${path}/${node.name}`
      if (node.subtree !== undefined) await walk(node.subtree, inner)
      const digest = node.content ? await read(node) : undefined
      if (digest !== undefined) found.set(inner, digest)
    }
  }
  for await (const snapshot of repository.snapshots({ onDamage: () => {} }))
    await walk(snapshot.tree, entryIdOf(snapshot))
  return found
}

/** What a repair writes itself. */
const ownPath = /^[0-9a-f]+\/\.vml(?:\/|\/entry\.json|\/lost\.json|\/lost\/.*)?$/

/** Nothing that could be read before is gone or other than it was. */
export function assertNothingLost(
  before: Map<string, string>,
  after: Map<string, string>,
  note: string,
): void {
  for (const [path, digest] of before)
    if (!ownPath.test(path)) assert.equal(after.get(path), digest, `${note}: ${path}`)
}

/** Whatever was saved once is there as it was, or it is named as lost: never anything in between. */
export async function assertAllAccounted(
  whole: Map<string, string>,
  repository: Repository,
  after: Map<string, string>,
  { unknown, note }: { readonly unknown: boolean; readonly note: string },
): Promise<number> {
  const lost = await readLostPaths(repository)
  const entries = new Set([...after.keys()].map((path) => path.slice(0, 64)))
  let losses = 0
  for (const [path, digest] of whole) {
    if (ownPath.test(path) || after.get(path) === digest) continue
    losses++
    const entry = path.slice(0, 64)
    if (!entries.has(entry)) {
      assert.ok(unknown, `${note}: entry ${entry} is gone without a word`)
      continue
    }
    assert.equal(after.get(path), undefined, `${note}: ${path} is there with other content`)
    const inEntry = path.slice(64)
    assert.ok(
      lost.get(entry)?.some((gone) => gone === '/' || inEntry === gone || inEntry.startsWith(`${gone}/`)),
      `${note}: ${path} is gone without a word`,
    )
  }
  return losses
}

async function readLostPaths(repository: Repository): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>()
  for await (const snapshot of repository.snapshots()) {
    const folder = (await repository.readTree(snapshot.tree)).find(({ name }) => name === '.vml')?.subtree
    const file = folder && (await repository.readTree(folder)).find(({ name }) => name === 'lost.json')
    if (!file?.content) continue
    const parts: Uint8Array[] = []
    for (const id of file.content) parts.push(await repository.readBlob(id))
    found.set(
      entryIdOf(snapshot),
      parseLost(Buffer.concat(parts)).map(({ raw }) => Buffer.from(raw, 'base64').toString('latin1')),
    )
  }
  return found
}

export async function repairIt(
  logbook: OpenLogbook,
  options: Partial<RepairQuestion> = {},
): Promise<RepairPlan> {
  await using repair = await openRepair(logbook, {
    readData: true,
    look: false,
    reporter: silentReporter,
    ...options,
  })
  if (repair.plan.changes && !options.look) await repair.run()
  return repair.plan
}

export interface DamageTally {
  damages: number
  byRestic: number
  losses: number
}

/** Damages one after the other to a small logbook; every `resticEvery`th of them is shown to stock restic, too. */
export async function proveRepairs({
  firstSeed,
  damages,
  resticEvery,
}: {
  readonly firstSeed: number
  readonly damages: number
  readonly resticEvery: number
}): Promise<DamageTally> {
  const whole = await makeLogbook()
  const everything = await readEverything(await openAny(whole))
  const restic = resticProgram('0.19')
  const tally: DamageTally = { damages: 0, byRestic: 0, losses: 0 }
  for (let seed = firstSeed; seed < firstSeed + damages; seed++)
    await proveRepair({ whole, everything }, seed, tally, seed % resticEvery === 0 ? restic : undefined)
  return tally
}

/**
 * One damage from the check to the second repair. With a program, stock restic is asked too: what it thinks of the damaged logbook and of
 * the repaired one, and what it restores of that.
 */
export async function proveRepair(
  { whole, everything }: { readonly whole: Files; readonly everything: Map<string, string> },
  seed: number,
  tally: DamageTally,
  restic?: string,
): Promise<void> {
  const { what, files } = damageAtRandom(whole, seed)
  const before = await readEverything(await openAny(files)).catch((error: unknown) => {
    if (!isFailure(error)) throw error
    return new Map<string, string>()
  })
  const { findings } = await (await openAny(files)).check({ readData: true, reporter: silentReporter })
  const damages = findings.filter(({ severity }) => severity === 'damage')
  assert.ok(damages.length > 0, `${what}: not found`)
  if (restic !== undefined) {
    const sound = passesRestic(restic, files)
    // It reads no key but the first that opens.
    if (damages.some((finding) => finding.what !== 'key'))
      assert.equal(sound, false, `${what}: restic finds nothing`)
  }
  await using logbook = await openDamaged(files)
  const plan = await repairIt(logbook)
  assert.ok(plan.changes, what)
  const repaired = await openAny(files)
  const after = await readEverything(repaired)
  assertNothingLost(before, after, what)
  tally.losses += await assertAllAccounted(everything, repaired, after, {
    unknown: plan.unknownSnapshots.length > 0,
    note: what,
  })
  const again = await repaired.check({ readData: true, reporter: silentReporter })
  assert.deepEqual(again.findings, [], what)
  await using second = await openDamaged(files)
  assert.equal((await repairIt(second)).changes, false, `${what}: a second repair changes something`)
  tally.damages++
  if (restic === undefined) return
  assert.ok(passesRestic(restic, files), `${what}: restic finds damage after the repair`)
  assert.deepEqual(restoreByRestic(restic, files), onlyFiles(after), what)
  tally.byRestic++
}

/** Whether `restic check --read-data` finds no error. */
function passesRestic(program: string, files: Files): boolean {
  return inFolder(
    files,
    (repository) => runRestic(program, repository, ['check', '--read-data']).status === 0,
  )
}

/** Every file of every snapshot, by entry and path as `readEverything` has it. */
function restoreByRestic(program: string, files: Files): Map<string, string> {
  return inFolder(files, (repository) => {
    const listed = runRestic(program, repository, ['snapshots', '--json'])
    const snapshots = z
      .array(z.object({ id: z.string(), original: z.string().exactOptional() }))
      .parse(JSON.parse(listed.stdout))
    const found = new Map<string, string>()
    for (const { id, original } of snapshots) {
      const target = join(repository, '..', `restored-${id}`)
      const { status, stderr } = runRestic(program, repository, ['restore', id, '--target', target])
      assert.equal(status, 0, stderr)
      for (const each of readdirSync(target, { recursive: true, withFileTypes: true })) {
        if (!each.isFile()) continue
        const path = join(each.parentPath, each.name)
        const digest = createHash('sha256').update(readFileSync(path)).digest('hex')
        found.set(`${original ?? id}/${relative(target, path)}`, digest)
      }
    }
    return sorted(found)
  })
}

function onlyFiles(all: Map<string, string>): Map<string, string> {
  return sorted(new Map([...all].filter(([, digest]) => digest !== 'folder')))
}

function sorted(map: Map<string, string>): Map<string, string> {
  return new Map([...map].toSorted(([left], [right]) => (left < right ? -1 : 1)))
}

function runRestic(program: string, repository: string, args: readonly string[]) {
  const run = (secret: string) =>
    spawnSync(program, ['-r', repository, '--no-cache', ...args], {
      encoding: 'utf8',
      env: { ...process.env, RESTIC_PASSWORD: secret },
      maxBuffer: 2 ** 28,
    })
  // A damaged key may be the one of the first password.
  const first = run(password.toString())
  return first.status === 0 ? first : run('another')
}

function inFolder<T>(files: Files, task: (repository: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), 'vml-damage-'))
  try {
    const repository = join(folder, 'repository')
    writeOut(files, repository)
    return task(repository)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** The files as restic has them in a folder. */
export function writeOut(files: Files, folder: string): void {
  const folders: Readonly<Record<string, string>> = {
    key: 'keys',
    lock: 'locks',
    snapshot: 'snapshots',
    index: 'index',
    pack: 'data',
  }
  for (const name of [...Object.values(folders), 'tmp']) mkdirSync(join(folder, name), { recursive: true })
  for (const [path, data] of files) {
    const [kind = '', name = ''] = path.split('/')
    if (kind === 'damaged') continue
    const inner =
      kind === 'config' ? 'config' : join(folders[kind] ?? '', kind === 'pack' ? name.slice(0, 2) : '', name)
    mkdirSync(dirname(join(folder, inner)), { recursive: true })
    writeFileSync(join(folder, inner), data)
  }
}

export interface Damage {
  readonly what: string
  readonly files: Files
}

const kinds = [
  'flip',
  'flip',
  'flip',
  'cut',
  'remove',
  'zero',
  'zeros-inside',
  'swap',
  'append',
  'empty',
] as const

/** One to three damages. Whole snapshots and keys are not removed: that is what forgetting one is, and nobody can tell. */
export function damageAtRandom(whole: Files, seed: number): Damage {
  const random = seeded(seed)
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] ?? assert.fail()
  const files: Files = new Map(whole)
  const said: string[] = []
  const count = 1 + Math.floor(random() * random() * 3)
  for (let at = 0; at < count; at++) {
    const types = ['pack', 'pack', 'pack', 'index', 'snapshot', 'key'] as const
    const type = pick(types)
    const names = [...files.keys()].filter((name) => name.startsWith(`${type}/`))
    const name = pick(names)
    const data = files.get(name) ?? assert.fail()
    const kind = pick(kinds)
    const place = Math.floor(random() * data.length)
    said.push(`${kind} ${name.slice(0, 14)} at ${place}`)
    if (kind === 'flip') {
      const changed = Buffer.from(data)
      changed[place] = (changed[place] ?? 0) ^ (1 << Math.floor(random() * 8))
      files.set(name, changed)
    } else if (kind === 'cut') {
      files.set(name, data.subarray(0, place))
    } else if (kind === 'empty') {
      files.set(name, Buffer.alloc(0))
    } else if (kind === 'zero') {
      files.set(name, Buffer.alloc(data.length))
    } else if (kind === 'zeros-inside') {
      files.set(name, Buffer.from(data).fill(0, place, Math.min(place + 512, data.length)))
    } else if (kind === 'append') {
      files.set(name, Buffer.concat([data, noise(1 + Math.floor(random() * 50), name)]))
    } else if (kind === 'remove' && (type === 'pack' || type === 'index')) {
      files.delete(name)
    } else {
      const other = pick(names)
      if (other === name) {
        at--
        said.pop()
        continue
      }
      files.set(name, files.get(other) ?? assert.fail())
      files.set(other, data)
    }
  }
  return { what: `seed ${seed}: ${said.join(', ')}`, files }
}

/** mulberry32: the same numbers for a seed on every computer. */
export function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
