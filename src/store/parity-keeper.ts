// Keeps recovery data in step with the packs of a repository. See parity.ts for what it promises, parity-plan.ts for who is protected with whom.
import type { Clock } from '../base/clock.ts'
import { VmlError } from '../base/failure.ts'
import { type PackId, parseId, shortId } from '../model/ids.ts'
import type { BlobIndex } from './blob-index.ts'
import { openFresh } from '../backend/fresh.ts'
import type { FoundGroup, Parity, ParityOptions, ParityState, ParityUpdate } from './parity.ts'
import { openErasureArena } from './erasure.ts'
import { findParityFiles, type ParityFiles, writeParitySettings } from './parity-files.ts'
import type { GroupOrder, WrittenGroup } from './parity-write.ts'
import type { HealPack } from './repair.ts'
import type { Vault } from './sealed-file.ts'
import type { CallOptions } from './store.ts'

export interface ParityParts {
  readonly vault: Vault
  readonly clock: Clock
  /** What the index names now. */
  readonly index: (options: CallOptions) => Promise<Pick<BlobIndex, 'hasPack' | 'packs'>>
  /** Keeps prunes away while packs are read. */
  readonly lock: (options: CallOptions) => Promise<AsyncDisposable>
}

/** Two files say the same: losing one switches nothing off. */
const settingsCopies = 2

export function openParity({ vault: given, clock, index, lock }: ParityParts): Parity {
  const vault = { ...given, backend: openFresh(given.backend) }
  const requirePlace = () => {
    if (vault.backend.traits.parity) return
    throw new VmlError(
      'unsupported',
      `Cannot keep recovery data in "${vault.backend.location}": only restic's own files can lie there`,
      {
        hint: 'Recovery data can be kept in a folder, over sftp and on S3. A copy there (vml copy) protects as well',
      },
    )
  }
  return {
    async state(options) {
      const files = await findParityFiles(vault, options)
      // Where nobody wants any, nothing more is read.
      if (!files.settings && files.groups.length === 0) return stateOf(files, noPacks, new Map())
      return stateOf(files, await index(options), await listPacks(vault, options))
    },
    settings: async (options = {}) => (await findParityFiles(vault, options)).settings,
    async set(share, options) {
      requirePlace()
      if (share !== undefined && !(share > 0 && share <= 1))
        throw new RangeError('A share is above 0, up to 1')
      const before = await findParityFiles(vault, options)
      // Later than what is there, whatever the clocks say.
      const last = Date.parse(before.settings?.setAt ?? '') || 0
      const setAt = new Date(Math.max(clock.now(), last + 1)).toISOString()
      for (let copy = 0; copy < settingsCopies; copy++)
        await writeParitySettings(vault, { share, setAt }, options)
      for (const name of before.settingsFiles) await vault.backend.remove({ kind: 'parity', name }, options)
    },
    async update(options) {
      if (!vault.backend.traits.parity) return nothingDone
      const files = await findParityFiles(vault, { ...options, readData: options.verify })
      if (!files.settings) {
        if (files.groups.length > 0)
          options.reporter.warn({
            warning: 'Recovery data is there, and nothing says how much is wanted: vml parity set 5%, or off',
          })
        return nothingDone
      }
      if (files.settings.share === undefined)
        return { ...nothingDone, filesRemoved: await removeAll(vault, files, options) }
      await using _lock = await lock(options)
      await keepSettings(vault, files, options)
      return await runUpdate(vault, { files, share: files.settings.share, index }, options)
    },
    healer: (options) => openHealer(vault, options),
  }
}

const noPacks: Pick<BlobIndex, 'packs'> = { packs: () => [] }
const nothingDone: ParityUpdate = {
  packs: 0,
  bytesRead: 0,
  bytesWritten: 0,
  filesRemoved: 0,
  damagedPacks: [],
}

async function listPacks({ backend }: Vault, options: CallOptions): Promise<ReadonlyMap<PackId, number>> {
  const present = new Map<PackId, number>()
  for await (const { name, size } of backend.list('pack', options)) {
    const pack = parseId<PackId>(name)
    if (pack !== undefined) present.set(pack, size)
  }
  return present
}

function stateOf(
  { groups, damaged, settings, bytes }: ParityFiles,
  index: Pick<BlobIndex, 'packs'>,
  present: ReadonlyMap<PackId, number>,
): ParityState {
  const covered = new Map<PackId, number>()
  for (const { members, files } of groups)
    if (files.some((file) => file?.whole))
      for (const { pack, bytes: size } of members) covered.set(pack, size)
  const unprotected: PackId[] = []
  const missing: PackId[] = []
  let protectedPacks = 0
  let protectedBytes = 0
  let unprotectedBytes = 0
  for (const { pack } of index.packs()) {
    const size = present.get(pack)
    if (covered.has(pack)) {
      if (size === undefined) missing.push(pack)
      protectedPacks++
      protectedBytes += covered.get(pack) ?? 0
    } else {
      unprotected.push(pack)
      unprotectedBytes += size ?? 0
    }
  }
  return {
    settings,
    groups: groups.length,
    bytes,
    protectedPacks,
    protectedBytes,
    unprotected,
    unprotectedBytes,
    missing,
    damaged,
  }
}

async function removeAll(
  vault: Vault,
  { groups, damaged }: ParityFiles,
  options: ParityOptions,
): Promise<number> {
  const names = [...groups.flatMap(filesOf), ...damaged.map(({ name }) => name)]
  for (const name of new Set(names)) await vault.backend.remove({ kind: 'parity', name }, options)
  return new Set(names).size
}

async function keepSettings(
  vault: Vault,
  { settings, settingsFiles }: ParityFiles,
  options: ParityOptions,
): Promise<void> {
  if (settings && settingsFiles.length < settingsCopies) await writeParitySettings(vault, settings, options)
}

interface Updating {
  readonly files: ParityFiles
  readonly share: number
  readonly index: ParityParts['index']
}

/** Each group is durable before what it replaces goes, and nothing goes that is the only way to a pack which an index names. */
async function runUpdate(
  vault: Vault,
  { files, share, index }: Updating,
  options: ParityOptions,
): Promise<ParityUpdate> {
  // Loaded on use: each save comes here, and few logbooks have any.
  const [{ planParity }, { writeGroup }] = await Promise.all([
    import('./parity-plan.ts'),
    import('./parity-write.ts'),
  ])
  // The packs after the index: what it names and is not there is lost.
  const named = await index(options)
  const present = await listPacks(vault, options)
  const isNamed = (pack: PackId) => named.hasPack(pack)
  const plan = planParity({ share, present, isNamed, groups: files.groups })
  const covered = new Set<PackId>()
  const leaving = new Set<FoundGroup>([...plan.remove, ...plan.extend.map(({ found }) => found)])
  for (const found of files.groups)
    if (!leaving.has(found)) for (const { pack } of found.members) covered.add(pack)
  const written = new Set<string>()
  const damagedPacks: PackId[] = []
  const sum = { packs: 0, bytesRead: 0, bytesWritten: 0, filesRemoved: 0 }
  const bytesTotal = [...plan.extend, ...plan.make]
    .flatMap(({ packs }) => packs)
    .reduce((bytes, pack) => bytes + (present.get(pack) ?? 0), 0)
  const take = (group: WrittenGroup) => {
    for (const pack of group.members) covered.add(pack)
    for (const name of group.names) written.add(name)
    damagedPacks.push(...group.damaged)
    sum.bytesRead += group.bytesRead
    sum.bytesWritten += group.bytesWritten
    options.reporter.progress({
      phase: 'making recovery data',
      bytesDone: Math.min(sum.bytesRead, bytesTotal),
      bytesTotal,
    })
  }
  const remove = async (name: string) => {
    // The same group again has the same files.
    if (written.has(name)) return
    await vault.backend.remove({ kind: 'parity', name }, options)
    sum.filesRemoved++
  }
  const dissolve = async (found: FoundGroup) => {
    if (found.members.some(({ pack }) => isNamed(pack) && !covered.has(pack))) return
    for (const name of filesOf(found)) await remove(name)
  }
  const order = (rest: Omit<GroupOrder, 'sizes'>): GroupOrder => ({ ...rest, sizes: present })
  const making = { ...options, arena: openErasureArena() }
  for (const { found, packs } of plan.extend) {
    const rows = found.files.length
    const extended = await writeGroup(vault, order({ rows, packs, from: found }), making)
    // Its files cannot be taken over: then from the packs themselves.
    const all = [...found.members.map(({ pack }) => pack), ...packs]
    const group = extended ?? (await writeGroup(vault, order({ rows, packs: all }), making))
    if (!group) continue
    take(group)
    sum.packs += Math.max(0, group.members.length - (extended ? found.members.length : 0))
    if (group.names.length > 0) await dissolve(found)
    else for (const { pack } of found.members) covered.add(pack)
  }
  for (const { rows, packs } of plan.make) {
    const group = await writeGroup(vault, order({ rows, packs }), making)
    if (!group) continue
    take(group)
    sum.packs += group.members.length
  }
  for (const found of plan.remove) await dissolve(found)
  const isNeeded = (pack: PackId) => isNamed(pack) && present.get(pack) === undefined
  // Of which group a damaged file was is not always known: while a pack is to be brought back, it stays.
  const wounded =
    damagedPacks.length > 0 || files.groups.some(({ members }) => members.some(({ pack }) => isNeeded(pack)))
  if (!wounded) for (const { name } of files.damaged) await remove(name)
  for (const pack of damagedPacks)
    options.reporter.warn({
      warning: `Pack ${shortId(pack)} is damaged and gets no recovery data: run vml check --repair`,
    })
  return { ...sum, damagedPacks }
}

function filesOf({ files }: FoundGroup): readonly string[] {
  return files.flatMap((file) => (file ? [file.name] : []))
}

/** Asked for the same pack several times by one repair. One after the other: they share the memory. */
function openHealer(vault: Vault, options: ParityOptions): HealPack {
  const healing = { ...options, arena: openErasureArena() }
  let found: Promise<ParityFiles> | undefined
  let last: { readonly pack: PackId; readonly content: Buffer } | undefined
  const warned = new Set<PackId>()
  const heal = async (pack: PackId): Promise<Buffer | undefined> => {
    if (last?.pack === pack) return last.content
    const { groups } = await (found ??= findParityFiles(vault, options))
    const { healPack } = await import('./parity-heal.ts')
    const healed = await healPack(vault, groups, pack, healing)
    if (!healed) return undefined
    if (healed.problem !== undefined && !warned.has(pack))
      options.reporter.warn({
        warning: `Cannot bring all of pack ${shortId(pack)} back by recovery data: ${healed.problem}`,
      })
    warned.add(pack)
    if (healed.content) last = { pack, content: healed.content }
    return healed.content
  }
  let turn: Promise<unknown> = Promise.resolve()
  return async (pack) => {
    if (!vault.backend.traits.parity) return undefined
    const mine = turn.then(async () => await heal(pack))
    turn = mine.catch(() => {})
    return await mine
  }
}
