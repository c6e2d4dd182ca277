// Who is at work on the open transaction, or watches one, and whether that process still runs: also where it is of another container.
import { existsSync, rmSync } from 'node:fs'
import { messageOf, systemErrorCode, VmlError } from '../base/failure.ts'
import { isWithinProcess } from '../base/process-ancestry.ts'
import { isRunning, isRunningElsewhere, markOf } from '../base/process-mark.ts'
import { asRaw } from '../base/raw-text.ts'
import { count, objectOf, optional, textOf } from '../model/field-check.ts'
import type { RawPath } from '../model/raw-path.ts'
import { type LockHolder, lockHolderOf, lockNewFile } from '../wire/record-lock.ts'
import { openFolder, pathIn, type Workplace } from './workplace.ts'

/** A process by its number, with what `/proc` tells of it. Older versions wrote neither the start of the kernel nor the namespace. */
export interface Worker {
  readonly id: number
  readonly started: string
  readonly boot?: string | undefined
  /** The namespace of the number. */
  readonly pids?: string | undefined
}

const word = textOf({ pattern: /^[!-~]{1,100}$/ })

export const workerCheck = objectOf({
  id: count,
  started: textOf({ pattern: /^\d{0,20}$/ }),
  boot: optional(word),
  pids: optional(word),
})

/** No process has that number. */
export const nobody: Worker = { id: 0, started: '' }

export function workerOf(id: number): Worker {
  return { id, ...(markOf(id) ?? { started: '' }) }
}

/** Locks of what this process is at work on, by their files. */
const held = new Map<RawPath, Disposable>()

/**
 * What a process of another container asks for, as numbers are not the same there: held until it is given up, or this process ends. To be taken before the note is written
 * that names this process; nobody else has one then who is still at work. A worker other than this process cannot hold one.
 */
export function holdWork({ id, started }: Worker, lock: RawPath): void {
  if (id !== process.pid || started !== workerOf(id).started) return
  letGoOfWork(lock)
  try {
    rmSync(asRaw(lock), { force: true })
    held.set(lock, lockNewFile(asRaw(lock)))
  } catch (error) {
    if (systemErrorCode(error) === 'ENOSPC' || systemErrorCode(error) === 'EDQUOT') throw error
    throw new VmlError('failed', `Cannot lock "${lock}": ${messageOf(error)}`, {
      cause: error,
      details: { path: lock, code: systemErrorCode(error) ?? null },
      hint: 'Nothing was changed by this. Remove the cause, and repeat',
    })
  }
}

export function holdsWork(lock: RawPath): boolean {
  return held.has(lock)
}

export function letGoOfWork(lock: RawPath): void {
  held.get(lock)?.[Symbol.dispose]()
  held.delete(lock)
}

interface NotedWork {
  readonly process: Worker
  readonly source: string
}

/** Whether the process that the open transaction is for still runs. One of another container of which that cannot be told does. */
export function isAtWork(place: Pick<Workplace, 'state'>, { process: worker, source }: NotedWork): boolean {
  return isWorking(worker, workLockOf(place), source === 'apt' ? aptLock : undefined)
}

/** Whether a process belongs to the open transaction: it is the one that this is for, or was started by it. */
export function isPartOf(
  place: Pick<Workplace, 'state'>,
  open: NotedWork | undefined,
  processId: number,
): boolean {
  return (
    open !== undefined &&
    !isElsewhere(open.process) &&
    isAtWork(place, open) &&
    isWithinProcess(processId, open.process.id)
  )
}

export function workLockOf(place: Pick<Workplace, 'state'>): RawPath {
  return pathIn(openFolder(place), 'work.lock')
}

/** apt holds it from before the first of its hooks until after the last one. */
const aptLock = '/var/lib/dpkg/lock-frontend' as RawPath

/** `lock`: what it holds where it is a vml. `managers`: what it holds where it is a package manager. */
export function isWorking(worker: Worker, lock: RawPath, managers?: RawPath): boolean {
  const { id, started, boot, pids } = worker
  const here = markOf(process.pid)
  if (here && boot !== undefined && boot !== here.boot) return false
  if (pids === undefined || !isElsewhere(worker)) return isRunning(id, { started })
  if (existsSync(asRaw(lock))) return isLocked(lock, () => true)
  const seen = isRunningElsewhere(id, { pids, started })
  if (seen !== undefined) return seen
  // Whoever of those that can be seen has it is another one.
  return managers === undefined || isLocked(managers, ({ pid }) => pid === 0)
}

/** "process 5", or whose it is. */
export function nameOfWorker(worker: Worker): string {
  return `process ${worker.id}${isElsewhere(worker) ? ' of another container' : ''}`
}

/** Its number is none of ours. */
export function isElsewhere({ pids }: Worker): boolean {
  const here = markOf(process.pid)
  return pids !== undefined && here !== undefined && pids !== here.pids
}

function isLocked(lock: RawPath, isMeant: (holder: LockHolder) => boolean): boolean {
  try {
    const holder = lockHolderOf(asRaw(lock))
    return holder !== undefined && isMeant(holder)
  } catch {
    return true // Whoever cannot be asked may be at work.
  }
}
