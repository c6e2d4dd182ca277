// Snapshot files, which commit an entry by being there (restic, doc/design.rst, "Snapshots").
import { isFailure, VmlError } from '../base/failure.ts'
import type { Reporter } from '../base/progress.ts'
import type { Snapshot } from '../model/entry.ts'
import { parseId, type SnapshotId, type TreeId } from '../model/ids.ts'
import { damageMessage } from './damage.ts'
import { jsonId, jsonObject, jsonOptionalText, jsonText, jsonTexts } from './json-fields.ts'
import { readSealedJson, type Vault, writeSealedJson } from './sealed-file.ts'
import type { CallOptions } from './store.ts'

export async function readSnapshotFile(
  vault: Vault,
  id: SnapshotId,
  options: CallOptions & { readonly sizeBytes?: number } = {},
): Promise<Snapshot> {
  return parseSnapshot(id, await readSealedJson(vault, { kind: 'snapshot', name: id }, options))
}

/** Every one that can be read. Damage is told; what is gone meanwhile is none. */
export async function readSnapshotFiles(
  vault: Vault,
  onDamage: (damage: { readonly id: SnapshotId; readonly message: string }) => void,
  options: CallOptions & { readonly reporter: Reporter },
): Promise<Snapshot[]> {
  const snapshots: Snapshot[] = []
  for await (const { name, size } of vault.backend.list('snapshot', options)) {
    const id = parseId<SnapshotId>(name)
    if (id === undefined) continue
    options.reporter.progress({ phase: 'reading snapshots', filesDone: snapshots.length })
    try {
      snapshots.push(await readSnapshotFile(vault, id, { ...options, sizeBytes: size }))
    } catch (error) {
      if (!isFailure(error, 'not-found')) onDamage({ id, message: damageMessage(error) })
    }
  }
  return snapshots
}

/** The tree must be durable, and an index must name it. */
export async function writeSnapshotFile(
  vault: Vault,
  snapshot: Omit<Snapshot, 'id'>,
  options: CallOptions = {},
): Promise<Snapshot> {
  const id = await writeSealedJson(vault, 'snapshot', encodeSnapshot(snapshot), options)
  return { ...snapshot, id: id as SnapshotId }
}

const knownFields = [
  'time',
  'tree',
  'parent',
  'original',
  'paths',
  'hostname',
  'username',
  'tags',
  'description',
  'program_version',
]

/** In the order of restic's own fields; restic leaves out what is empty. */
export function encodeSnapshot(snapshot: Omit<Snapshot, 'id'>): unknown {
  if (!isTime(snapshot.time)) throw new TypeError('The time of a snapshot is RFC 3339')
  const { parent, original, description, programVersion, tags } = snapshot
  return {
    ...snapshot.otherFields,
    time: snapshot.time,
    ...(parent === undefined ? {} : { parent }),
    tree: snapshot.tree,
    paths: snapshot.paths,
    hostname: snapshot.hostname,
    username: snapshot.username,
    ...(tags.length === 0 ? {} : { tags }),
    ...(original === undefined ? {} : { original }),
    ...(description === undefined ? {} : { description }),
    ...(programVersion === undefined ? {} : { program_version: programVersion }),
  }
}

export function parseSnapshot(id: SnapshotId, value: unknown): Snapshot {
  const json = jsonObject(value, 'snapshot')
  const time = jsonText(json['time'], 'time')
  if (!isTime(time)) throw new VmlError('integrity.format', `"time" of snapshot ${id} is not RFC 3339`)
  const parent = optionalId(json, 'parent')
  const original = optionalId(json, 'original')
  const description = jsonOptionalText(json['description'], 'description')
  const programVersion = jsonOptionalText(json['program_version'], 'program_version')
  const others = Object.entries(json).filter(([field]) => !knownFields.includes(field))
  for (const [field, other] of others) {
    if (isDeeper(other, otherDepthMax))
      throw new VmlError('integrity.format', `"${field.slice(0, 64)}" of snapshot ${id} is nested too deep`)
  }
  return {
    id,
    time,
    tree: jsonId(json['tree'], 'tree', (text) => parseId<TreeId>(text)),
    ...(parent === undefined ? {} : { parent }),
    ...(original === undefined ? {} : { original }),
    paths: jsonTexts(json['paths'], 'paths'),
    hostname: jsonOptionalText(json['hostname'], 'hostname') ?? '',
    username: jsonOptionalText(json['username'], 'username') ?? '',
    tags: jsonTexts(json['tags'], 'tags'),
    ...(description === undefined ? {} : { description }),
    ...(programVersion === undefined ? {} : { programVersion }),
    ...(others.length === 0 ? {} : { otherFields: Object.fromEntries(others) }),
  }
}

/** What other programs put there is written again, which no depth may stop. restic's own has three levels. */
const otherDepthMax = 64

function isDeeper(value: unknown, depthMax: number): boolean {
  if (typeof value !== 'object' || value === null) return false
  return depthMax === 0 || Object.values(value).some((inner) => isDeeper(inner, depthMax - 1))
}

function optionalId(json: Readonly<Record<string, unknown>>, field: string): SnapshotId | undefined {
  const text = jsonOptionalText(json[field], field)
  return text === undefined || text === '' ? undefined : jsonId(text, field, (id) => parseId<SnapshotId>(id))
}

function isTime(text: string): boolean {
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/.test(text)
}
