// Looks at every file of a repository for a repair: which can stay, and what is still right of the others.
import { hash } from 'node:crypto'
import { isFailure } from '../base/failure.ts'
import type { Snapshot } from '../model/entry.ts'
import { type IndexId, type PackId, parseId } from '../model/ids.ts'
import { type BlobIndex, openBlobIndex } from './blob-index.ts'
import { readIndexes } from './check-index.ts'
import { damagedRanges, inspectPack, packBytesMax, sameBlobs } from './check-pack-content.ts'
import { readPacksAhead, readWhole } from './check-packs.ts'
import { damageMessage } from './damage.ts'
import { readKeyFile } from './keys.ts'
import type { PackedBlob } from './pack-format.ts'
import { readPackHeader } from './pack-headers.ts'
import type { DamagedPack, HealPack, RepairOptions, RepairSurvey } from './repair.ts'
import type { Vault } from './sealed-file.ts'
import { readSnapshotFiles } from './snapshot-file.ts'

export interface SurveyedPack extends DamagedPack {
  /** What is right of it. */
  readonly good: readonly PackedBlob[]
  /** That is more than lies there: the rest came back by other means. */
  readonly partly: boolean
}

export interface Survey {
  readonly found: RepairSurvey
  readonly snapshots: readonly Snapshot[]
  /** Sound packs as they are, and of damaged ones what is right. */
  readonly index: BlobIndex
  /** What an index names and is nowhere right: for its length. */
  readonly lost: BlobIndex
  readonly damaged: ReadonlyMap<PackId, SurveyedPack>
  /** Sound packs that no index names. */
  readonly unindexed: ReadonlySet<PackId>
  /** Packs that stay, or come back, and whose index files go. */
  readonly reindexed: ReadonlySet<PackId>
}

/** Holds some 120 bytes for each blob, and one pack. */
export async function surveyRepository(vault: Vault, options: RepairOptions): Promise<Survey> {
  const damagedKeys = await readKeys(vault, options)
  // Snapshots before the index: whatever an older snapshot names, an index that is read later knows.
  const damagedSnapshots: RepairSurvey['damagedSnapshots'][number][] = []
  const snapshots = await readSnapshotFiles(vault, (damage) => void damagedSnapshots.push(damage), options)
  const indexes = await readIndexes(vault, options)
  const packs = await readPacks(vault, indexes.table, options)

  // An index that replaces others goes together with them: without it they would count again.
  const replacing = indexes.replaced.size > 0
  const isWrong = (id: IndexId, named: readonly PackId[]) =>
    named.some((pack) => packs.misnamed.has(pack)) ||
    (replacing && (indexes.replacing.has(id) || indexes.replaced.has(id)))
  const affected = [...indexes.files].filter(([id, named]) => isWrong(id, named))
  const wrong = affected.some(([, named]) => named.some((pack) => packs.misnamed.has(pack))) ? affected : []
  const stays = (pack: PackId) => packs.sound.has(pack) || comesBack(packs.damaged.get(pack))
  const reindexed = new Set(wrong.flatMap(([, named]) => named).filter(stays))
  return {
    found: {
      packs: [...packs.damaged.values()].map(({ pack, state, message, bytes, salvaged, lost, healed }) => ({
        pack,
        state,
        message,
        bytes,
        salvaged,
        lost,
        healed,
      })),
      damagedIndexes: indexes.damaged,
      wrongIndexes: wrong.map(([id]) => id),
      damagedSnapshots,
      damagedKeys,
      bytesRead: packs.bytesRead,
    },
    snapshots,
    index: packs.index,
    lost: packs.lost,
    damaged: packs.damaged,
    unindexed: packs.unindexed,
    reindexed,
  }
}

/** Put back under its own name, it is as if it had never been gone. */
export function comesBack(pack: SurveyedPack | undefined): boolean {
  return pack !== undefined && pack.healed && pack.state === 'missing'
}

async function readKeys({ backend }: Vault, options: RepairOptions): Promise<RepairSurvey['damagedKeys']> {
  const damaged: RepairSurvey['damagedKeys'][number][] = []
  for await (const { name } of backend.list('key', options)) {
    try {
      if ((await readKeyFile(backend, name, options)).intact) continue
      const content = await backend.get({ kind: 'key', name }, undefined, options)
      damaged.push({
        id: name,
        message: 'The key file does not have the hash in its name',
        renamedTo: hash('sha256', content),
      })
    } catch (error) {
      if (isFailure(error, 'not-found')) continue
      damaged.push({ id: name, message: damageMessage(error) })
    }
  }
  return damaged
}

interface Packs {
  readonly index: BlobIndex
  readonly lost: BlobIndex
  readonly sound: ReadonlySet<PackId>
  readonly unindexed: ReadonlySet<PackId>
  readonly damaged: ReadonlyMap<PackId, SurveyedPack>
  /** Named by an index as what they are not. */
  readonly misnamed: ReadonlySet<PackId>
  readonly bytesRead: number
}

async function readPacks(vault: Vault, table: BlobIndex, options: RepairOptions): Promise<Packs> {
  const sizes = new Map<PackId, number>()
  for await (const { name, size } of vault.backend.list('pack', options)) {
    const pack = parseId<PackId>(name)
    if (pack !== undefined) sizes.set(pack, size)
  }
  const bytesTotal = [...sizes.values()].reduce((sum, size) => sum + size, 0)
  const index = openBlobIndex()
  const sound = new Set<PackId>()
  const unindexed = new Set<PackId>()
  const misnamed = new Set<PackId>()
  const faulty: (Looked & { readonly pack: PackId; readonly bytes: number; readonly isNamed: boolean })[] = []
  let bytesDone = 0
  let filesDone = 0
  const all = function* () {
    for (const { pack, bytes, blobs } of table.packContents()) yield { pack, bytes, named: blobs }
    for (const pack of sizes.keys()) if (!table.hasPack(pack)) yield { pack, bytes: 0, named: undefined }
  }
  // What need not be read is too large to be read ahead.
  const sizeAhead = (pack: PackId) => (options.readData ? (sizes.get(pack) ?? 0) : Number.POSITIVE_INFINITY)
  for await (const [{ pack, bytes, named }, content] of readPacksAhead(vault, all(), sizeAhead, options)) {
    options.signal?.throwIfAborted()
    const sizeBytes = sizes.get(pack)
    const looked = await lookAt(vault, { pack, named, expectedBytes: bytes, sizeBytes, content }, options)
    options.reporter.progress({
      phase: 'reading packs',
      bytesDone: (bytesDone += sizeBytes ?? 0),
      bytesTotal,
      filesDone: ++filesDone,
      filesTotal: sizes.size,
    })
    if (looked.header && looked.state === 'sound') {
      sound.add(pack)
      index.add(pack, looked.header)
      if (!named) unindexed.add(pack)
      else if (!sameBlobs(looked.header, named)) misnamed.add(pack)
    } else {
      faulty.push({ ...looked, pack, bytes: sizeBytes ?? bytes, isNamed: named !== undefined })
      // Given back under its name it is what the index says.
      if (named && !(looked.healed && looked.state === 'missing')) misnamed.add(pack)
    }
  }

  // First what is sound, then what damaged packs add to it: of each blob the first place counts.
  const damaged = new Map<PackId, SurveyedPack>()
  const lost = openBlobIndex()
  for (const { pack, state, message, bytes, good, healed, partly = false, isNamed } of faulty) {
    const salvaged = good.filter(({ type, id }) => !index.has(type, id))
    // Saved by an earlier repair, and left where it is by a storage that cannot set it aside: nobody needs it.
    if (!isNamed && salvaged.length === 0 && !vault.backend.setAside) continue
    index.add(pack, salvaged)
    damaged.set(pack, {
      pack,
      state: state === 'missing' ? 'missing' : 'damaged',
      message,
      bytes,
      good: salvaged,
      salvaged: salvaged.length,
      lost: 0,
      healed,
      partly,
    })
  }
  for (const { pack, bad } of faulty) {
    const nowhere = bad.filter(({ type, id }) => !index.has(type, id))
    if (nowhere.length === 0) continue
    lost.add(pack, nowhere)
    const known = damaged.get(pack)
    if (known) damaged.set(pack, { ...known, lost: nowhere.length })
  }
  return { index, lost, sound, unindexed, damaged, misnamed, bytesRead: bytesDone }
}

interface Looked {
  readonly state: 'sound' | 'damaged' | 'missing'
  readonly message: string
  readonly header: readonly PackedBlob[] | undefined
  readonly good: readonly PackedBlob[]
  readonly bad: readonly PackedBlob[]
  readonly healed: boolean
  readonly partly?: boolean
}

interface PackQuestion {
  readonly pack: PackId
  /** Undefined where no index names it. */
  readonly named: readonly PackedBlob[] | undefined
  readonly expectedBytes: number
  /** Undefined where it is missing. */
  readonly sizeBytes: number | undefined
  /** Where it was read already. */
  readonly content: Buffer | undefined
}

async function lookAt(vault: Vault, question: PackQuestion, options: RepairOptions): Promise<Looked> {
  const { pack, named = [], expectedBytes, sizeBytes } = question
  const missing = async () =>
    await mend(vault, question, options, {
      state: 'missing',
      message: 'It is missing',
      ranges: [{ offset: 0, length: expectedBytes }],
      good: [],
      bad: named,
    })
  if (sizeBytes === undefined) return await missing()
  if (!options.readData && sizeBytes <= packBytesMax) {
    const header = await readPackHeader(vault, { pack, sizeBytes }, options)
    if (header && (!question.named || sameBlobs(header, named))) return soundWith(header)
  }
  if (sizeBytes > packBytesMax) {
    const message = `It has ${sizeBytes} bytes, more than any pack`
    return { state: 'damaged', message, header: undefined, good: [], bad: named, healed: false }
  }
  const content = question.content ?? (await readWhole(vault, pack, options))
  if (!content) return await missing()
  const inspected = inspectPack(vault.cipher, { pack, content, named })
  const { intact, header, headerProblem, good, lost } = inspected
  const bad = new Set(lost)
  if (intact && header && !header.some((blob) => bad.has(blob))) return soundWith(header)
  const problems = [
    ...(intact ? [] : ['its content does not have the hash in its name']),
    ...(headerProblem === undefined ? [] : [headerProblem]),
    ...(lost.length === 0 ? [] : [`${lost.length} of its blobs cannot be read`]),
  ]
  return await mend(vault, question, options, {
    state: 'damaged',
    message: problems.join('; '),
    ranges: damagedRanges(content, inspected),
    good,
    bad: lost,
  })
}

function soundWith(header: readonly PackedBlob[]): Looked {
  return { state: 'sound', message: '', header, good: header, bad: [], healed: false }
}

async function mend(
  vault: Vault,
  { pack, named = [] }: PackQuestion,
  { heal }: RepairOptions,
  {
    state,
    message,
    ranges,
    good,
    bad,
  }: Pick<Looked, 'state' | 'message' | 'good' | 'bad'> & { readonly ranges: Parameters<HealPack>[1] },
): Promise<Looked> {
  const content = await heal?.(pack, ranges)
  const inspected = content && inspectPack(vault.cipher, { pack, content, named })
  if (inspected?.intact)
    return {
      state,
      message,
      header: inspected.header,
      good: inspected.good,
      bad: inspected.lost,
      healed: true,
    }
  // Each blob was proved by its MAC and its hash, wherever it came from.
  if (inspected && inspected.good.length > good.length)
    return {
      state,
      message,
      header: undefined,
      good: inspected.good,
      bad: inspected.lost,
      healed: false,
      partly: true,
    }
  return { state, message, header: undefined, good, bad, healed: false }
}
