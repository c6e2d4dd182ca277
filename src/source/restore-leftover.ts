// The names under which a restore holds what is not whole yet, or what it has set aside to look at it.
import { hash, randomBytes } from 'node:crypto'
import { isRunning, markOf } from '../base/process-mark.ts'
import type { RawText } from '../base/raw-text.ts'
import type { Standing } from './standing.ts'

const pattern = /^\.vml-restore-[0-9a-f]{16}-[0-9a-z-]{1,40}$/
/** Process, its start, kernel and namespace; older versions have none. */
const holderPattern = /^\.vml-(?:restore|aside)-[0-9a-f]{16}-m([0-9a-z]{1,6})-([0-9a-z]{1,13})-([0-9a-f]{8})-/
const asidePattern =
  /^\.vml-aside-[0-9a-f]{16}(?:-m[0-9a-z]{1,6}-[0-9a-z]{1,13}-[0-9a-f]{8})?-\d{1,5}-\d{1,15}-([0-9a-z]{1,13})-([0-9a-f]{16})$/

/** A name for all threads of one restore: random, and whose it is, so that another one leaves alone what this one has in hand. */
export function newRun(): string {
  const random = randomBytes(8).toString('hex')
  const mark = markOf(process.pid)
  if (!mark || !/^\d+$/.test(mark.started)) return random
  const started = BigInt(mark.started).toString(36)
  return `${random}-m${process.pid.toString(36)}-${started}-${placeOf(mark)}`
}

export function leftoverName(run: string, what: string): RawText {
  return `.vml-restore-${run}-${what}` as RawText
}

/** A restore that was cut off may leave it; the next one in that folder takes it away. */
export function isRestoreLeftover(name: string): boolean {
  return pattern.test(name)
}

/**
 * Where something new and what it replaces change places: whose inode the new one has and what the old one was are in the name, so that
 * it can be told later which of them lies there. Not one of `isRestoreLeftover`: it may be somebody's only copy.
 */
export function asideName(
  run: string,
  {
    number,
    inode,
    seen,
  }: { readonly number: string; readonly inode: bigint; readonly seen: Standing | undefined },
): RawText {
  return `.vml-aside-${run}-${number}-${inode.toString(36)}-${digestOf(seen)}` as RawText
}

/** Both kinds. */
export function isOfRestore(name: string): boolean {
  return name.startsWith('.vml-') && (pattern.test(name) || asidePattern.test(name))
}

/** `nobodys`: nothing is lost with it. `in-hand`: of a restore that runs. `set-aside`: it may be somebody's only copy. Undefined for all other names. */
export function judgeLeftover(
  name: string,
  look: () => Standing | undefined,
): 'nobodys' | 'in-hand' | 'set-aside' | undefined {
  if (!isOfRestore(name)) return undefined
  if (isInHand(name)) return 'in-hand'
  const [, inode, digest] = asidePattern.exec(name) ?? []
  if (inode === undefined) return 'nobodys'
  const found = look()
  const isNew = found?.inode?.toString(36) === inode
  return found && (isNew || digestOf(found) === digest) ? 'nobodys' : 'set-aside'
}

/** In another namespace of this kernel nobody can tell who still runs: then it does. */
function isInHand(name: string): boolean {
  const [, pid = '', started = '', place = ''] = holderPattern.exec(name) ?? []
  const mark = pid === '' ? undefined : markOf(process.pid)
  if (!mark) return false
  const here = placeOf(mark)
  if (place.slice(0, 4) !== here.slice(0, 4)) return false
  return place !== here || isRunning(Number.parseInt(pid, 36), { started: fromBase36(started) })
}

/** Four digits for the kernel, four for the namespace. */
function placeOf({ boot, pids }: { readonly boot: string; readonly pids: string }): string {
  return `${shortHash(boot, 4)}${shortHash(pids, 4)}`
}

function digestOf(seen: Standing | undefined): string {
  const { mode = 0, uid = 0, gid = 0, size = 0, mtimeNs = 0n } = seen ?? {}
  return shortHash([mode, uid, gid, size, mtimeNs].join(':'), 16)
}

function shortHash(text: string, digits: number): string {
  return hash('sha256', text).slice(0, digits)
}

function fromBase36(text: string): string {
  let value = 0n
  for (const digit of text) value = value * 36n + BigInt(Number.parseInt(digit, 36))
  return String(value)
}
