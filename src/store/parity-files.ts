// Finds the recovery data of a repository: which groups there are, which of their files are whole, and what was asked for.
import { hash } from 'node:crypto'
import { isFailure, VmlError } from '../base/failure.ts'
import { mapOrdered } from '../base/pool.ts'
import { isDamage } from './damage.ts'
import type { DamagedParity, FoundGroup, FoundRow, ParitySettings } from './parity.ts'
import {
  isParityFile,
  likelyHeadBytes,
  type ParityGroup,
  type ParityRow,
  readParityHead,
} from './parity-format.ts'
import { readSealedJson, type Vault, writeSealedJson } from './sealed-file.ts'
import type { CallOptions } from './store.ts'

export interface ParityFiles {
  readonly groups: readonly FoundGroup[]
  readonly damaged: readonly DamagedParity[]
  readonly settings: ParitySettings | undefined
  /** Names of files that hold settings, the newest first. */
  readonly settingsFiles: readonly string[]
  readonly bytes: number
}

/** Sealed JSON of some hundred bytes; a row has two preambles and two descriptions. */
const settingsBytesMax = 4096
/** A million of them are 16 TiB. */
const filesMax = 1_000_000

/** Reads the beginning of each file, or with `readData` all of it. */
export async function findParityFiles(
  vault: Vault,
  options: CallOptions & { readonly readData?: boolean | undefined },
): Promise<ParityFiles> {
  const listed: { readonly name: string; readonly size: number }[] = []
  if (vault.backend.traits.parity)
    for await (const file of vault.backend.list('parity', options)) {
      if (listed.push(file) > filesMax)
        throw new VmlError('unsupported', 'There are more files of recovery data than VML reads')
    }
  const groups = new Map<string, FoundGroup & { readonly files: (FoundRow | undefined)[] }>()
  const damaged: DamagedParity[] = []
  const settings: { readonly name: string; readonly value: ParitySettings }[] = []
  await mapOrdered(listed, vault.backend.traits.connections, async ({ name, size }) => {
    const found = await lookAt(vault, { name, size }, options)
    if (found.message !== undefined) damaged.push({ name, message: found.message })
    if (found.settings) settings.push({ name, value: found.settings })
    if (!found.head) return
    const { group, row } = found.head
    const known = groups.get(group.id) ?? outlineOf(group)
    groups.set(group.id, known)
    known.files[row] = { name, size, whole: found.message === undefined }
  })
  settings.sort((left, right) => (left.value.setAt > right.value.setAt ? -1 : 1))
  return {
    groups: [...groups.values()],
    damaged,
    settings: settings[0]?.value,
    settingsFiles: settings.map(({ name }) => name),
    bytes: listed.reduce((sum, { size }) => sum + size, 0),
  }
}

/** Checksums are read again when they are needed: in memory for all groups, they would take 64 MiB for each TiB. */
function outlineOf({ id, members, rows, rowBytes }: ParityGroup) {
  return {
    id,
    members: members.map(({ pack, bytes }) => ({ pack, bytes })),
    rowBytes,
    files: Array.from<FoundRow | undefined>({ length: rows.length }),
  }
}

/** Nothing of all this for one that was replaced since it was listed. */
interface Looked {
  readonly head?: ParityRow
  readonly settings?: ParitySettings
  readonly message?: string
}

async function lookAt(
  vault: Vault,
  { name, size }: { readonly name: string; readonly size: number },
  options: CallOptions & { readonly readData?: boolean | undefined },
): Promise<Looked> {
  const file = { kind: 'parity', name } as const
  try {
    const length = options.readData ? size : Math.min(size, likelyHeadBytes)
    const start = await vault.backend.get(file, { offset: 0, length }, options)
    if (size <= settingsBytesMax && !isParityFile(start))
      return { settings: parseSettings(await readSealedJson(vault, file, { ...options, sizeBytes: size })) }
    const head = await readParityHead({
      size,
      read: async (offset, bytes) =>
        offset + bytes <= start.length
          ? start.subarray(offset, offset + bytes)
          : await vault.backend.get(file, { offset, length: bytes }, options),
    })
    const wanted = 2 * head.offset + head.group.rowBytes
    if (size !== wanted) return { head, message: `It has ${size} bytes instead of ${wanted}` }
    if (options.readData && hash('sha256', start) !== name)
      return { head, message: 'Its content does not have the hash in its name' }
    return { head }
  } catch (error) {
    if (isFailure(error, 'not-found')) return {}
    if (isDamage(error)) return { message: error.message }
    throw error
  }
}

function parseSettings(value: unknown): ParitySettings {
  const fields = typeof value === 'object' && value !== null ? value : {}
  const share = 'share' in fields ? fields.share : undefined
  const setAt = 'set' in fields ? fields.set : undefined
  const isShare = share === null || (typeof share === 'number' && share > 0 && share <= 1)
  if (!isShare || typeof setAt !== 'string' || !('schema' in fields) || fields.schema !== 1)
    throw new VmlError(
      'integrity.format',
      'Cannot read the settings of recovery data: they are from a newer VML',
    )
  return { share: share ?? undefined, setAt }
}

/** Sealed with the key of the repository: who has none can remove it, not write another one. Returns the name of the file. */
export async function writeParitySettings(
  vault: Vault,
  { share, setAt }: ParitySettings,
  options: CallOptions,
): Promise<string> {
  return await writeSealedJson(vault, 'parity', { schema: 1, share: share ?? null, set: setAt }, options)
}
