// Lock files as they lie in the repository (restic, doc/design.rst, "Locks"; internal/repository/lock_file.go).
import { isFailure, VmlError } from '../base/failure.ts'
import { jsonCount, jsonObject, jsonOptionalText, jsonText } from './json-fields.ts'
import { encodeMark, judgeHolder, type LockOwner, parseMark } from './lock-holder.ts'
import { readSealedJson, type Vault, writeSealedJson } from './sealed-file.ts'
import type { CallOptions, LockDescription } from './store.ts'

export interface LockFile extends LockOwner {
  readonly id: string
  readonly time: string
  readonly exclusive: boolean
}

const lockFilesMax = 10_000

/** Every lock file; undefined content for one that cannot be read. */
export async function* listLocks(
  vault: Vault,
  options: CallOptions = {},
): AsyncIterable<{ readonly id: string; readonly lock?: LockFile; readonly error?: unknown }> {
  let count = 0
  for await (const { name, size } of vault.backend.list('lock', options)) {
    if (++count > lockFilesMax)
      throw new VmlError('integrity.format', `More than ${lockFilesMax} locks are there`)
    // Storage without atomic writes leaves empty files behind when a write was cut off; restic passes over them too.
    if (size === 0) continue
    try {
      const json = await readSealedJson(vault, { kind: 'lock', name }, { ...options, sizeBytes: size })
      yield { id: name, lock: parseLock(name, json) }
    } catch (error) {
      if (!isFailure(error, 'not-found')) yield { id: name, error }
    }
  }
}

/** Every lock with what can be told of its holder at once. */
export async function* describeLocks(
  vault: Vault,
  { owner, now, signal }: CallOptions & { readonly owner: LockOwner; readonly now: number },
): AsyncIterable<LockDescription> {
  for await (const { id, lock } of listLocks(vault, { signal })) yield describeLock(id, lock, { owner, now })
}

export async function writeLock(
  vault: Vault,
  {
    owner,
    exclusive,
    now,
    signal,
  }: {
    readonly owner: LockOwner
    readonly exclusive: boolean
    readonly now: number
    readonly signal: AbortSignal | undefined
  },
): Promise<string> {
  return await writeSealedJson(
    vault,
    'lock',
    {
      time: new Date(now).toISOString(),
      exclusive,
      hostname: owner.hostname,
      username: owner.username,
      pid: owner.pid,
      uid: owner.uid,
      gid: owner.gid,
      ...encodeMark(owner.process),
    },
    { signal },
  )
}

export function describeLock(
  id: string,
  lock: LockFile | undefined,
  when: { readonly owner: LockOwner; readonly now: number },
): LockDescription {
  if (!lock)
    return { id, state: 'unreadable', exclusive: false, hostname: '', username: '', pid: 0, time: '' }
  const { exclusive, hostname, username, pid, time } = lock
  return { id, state: judgeHolder(lock, when), exclusive, hostname, username, pid, time }
}

function parseLock(id: string, value: unknown): LockFile {
  const json = jsonObject(value, 'lock')
  return {
    id,
    time: jsonText(json['time'], 'time'),
    exclusive: json['exclusive'] === true,
    hostname: jsonOptionalText(json['hostname'], 'hostname') ?? '',
    username: jsonOptionalText(json['username'], 'username') ?? '',
    pid: jsonCount(json['pid'] ?? 0, 'pid', 0xffff_ffff),
    uid: jsonCount(json['uid'] ?? 0, 'uid', 0xffff_ffff),
    gid: jsonCount(json['gid'] ?? 0, 'gid', 0xffff_ffff),
    process: parseMark(json['vml']),
  }
}
