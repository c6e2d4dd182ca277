// Processes that have data of a service open, whatever started them: it cannot be handed over while one has.
import { readdirSync, readlinkSync, statSync, type BigIntStats } from 'node:fs'
import { systemErrorCode } from '../base/failure.ts'
import { rawFromBytes, rawToBytes } from '../base/raw-text.ts'
import { isWithin, parseRawPath, type RawPath } from '../model/raw-path.ts'

/** By open file or working folder. In another namespace the same name may be another thing: what it is decides. */
export function usersOf(folders: readonly RawPath[]): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((name) => hasOpen(name, folders))
    .map(Number)
}

function hasOpen(process: string, folders: readonly RawPath[]): boolean {
  const files = namesIn(`/proc/${process}/fd`).map((name) => `/proc/${process}/fd/${name}`)
  return [`/proc/${process}/cwd`, ...files].some((link) => {
    const target = targetOf(link)
    if (target === undefined || !folders.some((folder) => isWithin(target, folder))) return false
    const [theirs, ours] = [statusOf(link), statusOf(rawToBytes(target))]
    return theirs !== undefined && theirs.dev === ours?.dev && theirs.ino === ours.ino
  })
}

function namesIn(folder: string): readonly string[] {
  return ifThere(() => readdirSync(folder)) ?? []
}

function targetOf(link: string): RawPath | undefined {
  const bytes = ifThere(() => readlinkSync(link, { encoding: 'buffer' }))
  return bytes && parseRawPath(rawFromBytes(bytes))
}

function statusOf(path: string | Buffer): BigIntStats | undefined {
  return ifThere(() => statSync(path, { bigint: true }))
}

/** A process may end at any moment. */
function ifThere<Result>(look: () => Result): Result | undefined {
  try {
    return look()
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error
    return undefined
  }
}
