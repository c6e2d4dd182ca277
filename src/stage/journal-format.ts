// How a journal is written: a line of JSON for the whole, one for each step and each time, and their SHA-256 at the end.
import { createHash } from 'node:crypto'
import { asRaw, type RawText } from '../base/raw-text.ts'
import { parseRawPath, type RawPath } from '../model/raw-path.ts'
import type { NodeType } from '../model/tree.ts'
import { typeBits } from './fingerprint.ts'
import type { AttributeState, FolderTime, Journal, KeepFolder, Stamp, Stamps, Step } from './journal.ts'

const version = 1
const insideKind = 'inside'
const stampKind = 'stamp'

/** A character of the file is a byte of a name, so that every name has a line. */
export function encodeJournal({ root, keeps, steps, times, inside, stamps }: Journal): Buffer {
  const lines = [
    JSON.stringify({
      version,
      root,
      keeps: keeps.map(({ folder, made, aboveMtimeNs }) => [folder, made, String(aboveMtimeNs)]),
      ...(inside === undefined ? {} : { listsInside: true }),
      ...(stamps === undefined ? {} : { hasStamps: true }),
    }),
    ...steps.map((step) => JSON.stringify(stepRow(step))),
    ...times.map(({ path, beforeNs, afterNs }) =>
      JSON.stringify([
        'time',
        path,
        beforeNs === undefined ? null : String(beforeNs),
        afterNs === undefined ? null : String(afterNs),
      ]),
    ),
    ...[...(inside ?? [])].map((path) => JSON.stringify([insideKind, path])),
    ...[...(stamps ?? [])].map(([path, { before, after }]) =>
      JSON.stringify([stampKind, path, ...stampColumns(before), ...stampColumns(after)]),
    ),
  ]
  const body = Buffer.from(`${lines.join('\n')}\n`, 'latin1')
  return Buffer.concat([body, Buffer.from(digestLine(body))])
}

/** Undefined when it is not whole, or not of this version. */
export function decodeJournal(bytes: Buffer, folder: RawText): Journal | undefined {
  const digestBytes = digestLine(Buffer.alloc(0)).length
  const body = bytes.subarray(0, Math.max(0, bytes.length - digestBytes))
  if (bytes.subarray(body.length).toString('latin1') !== digestLine(body)) return undefined
  const [head = '', ...lines] = body.toString('latin1').split('\n')
  const read = readHead(JSON.parse(head))
  if (read === undefined) return undefined
  const { listsInside, hasStamps, ...known } = read
  const inside = new Set<RawPath>()
  const stamps = new Map<RawPath, Stamps>()
  const steps: Step[] = []
  const times: FolderTime[] = []
  for (const line of lines) {
    if (line === '') continue
    const row: unknown = JSON.parse(line)
    const part = isRow(row) ? readRow(row) : undefined
    if (part === undefined) return undefined
    if (typeof part === 'string') inside.add(part)
    else if ('stamps' in part) stamps.set(part.path, part.stamps)
    else if ('kind' in part) steps.push(part)
    else times.push(part)
  }
  return {
    ...known,
    folder,
    steps,
    times,
    ...(listsInside ? { inside } : {}),
    ...(hasStamps ? { stamps } : {}),
  }
}

function digestLine(body: Uint8Array): string {
  return `${createHash('sha256').update(body).digest('hex')}\n`
}

function stepRow(step: Step): unknown[] {
  switch (step.kind) {
    case 'create':
      return [step.kind, step.path, step.made]
    case 'delete':
      return [step.kind, step.path, step.kept]
    case 'replace':
      return [step.kind, step.path, step.made, step.kept]
    case 'retype':
      return [step.kind, step.path, step.made, step.kept, step.to]
    case 'attributes':
      return [step.kind, step.path, step.type, ...stateColumns(step.before), ...stateColumns(step.after)]
  }
}

function stateColumns({ mode, uid, gid, xattrs }: AttributeState): unknown[] {
  const values = xattrs?.map(({ name, value }) => [name, Buffer.from(value).toString('hex')])
  return [mode, uid, gid, values ?? null]
}

/** Size and time; nothing where there is none, and no size for a link. */
function stampColumns(stamp: Stamp | undefined): unknown[] {
  return stamp === undefined ? [null, null] : [stamp.size ?? null, String(stamp.mtimeNs)]
}

type Head = Pick<Journal, 'root' | 'keeps'> & { readonly listsInside: boolean; readonly hasStamps: boolean }

function readHead(value: unknown): Head | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const absent = { version: 0, root: '', keeps: [], listsInside: false, hasStamps: false }
  const { version: found, root, keeps, listsInside, hasStamps } = Object.assign(absent, value)
  const at = readPath(root)
  if (found !== version || at === undefined || !Array.isArray(keeps)) return undefined
  const rows = keeps.map((row: unknown) => (isRow(row) ? readKeep(row) : undefined))
  const whole = rows.filter((row) => row !== undefined)
  return whole.length === rows.length ? { root: at, keeps: whole, listsInside, hasStamps } : undefined
}

function readKeep([folder, made, above]: readonly unknown[]): KeepFolder | undefined {
  const at = readPath(folder)
  const folders = Array.isArray(made) ? made.map(readPath).filter((path) => path !== undefined) : []
  const aboveMtimeNs = readTime(above)
  if (at === undefined || aboveMtimeNs === undefined) return undefined
  return { folder: at, made: folders, aboveMtimeNs }
}

interface StampRow {
  readonly path: RawPath
  readonly stamps: Stamps
}

function readRow([kind, first, ...rest]: readonly unknown[]):
  | Step
  | FolderTime
  | RawPath
  | StampRow
  | undefined {
  const path = readPath(first)
  if (path === undefined) return undefined
  const [one, other] = [readPath(rest[0]), readPath(rest[1])]
  switch (kind) {
    case 'create':
      return one && { kind, path, made: one }
    case 'delete':
      return one && { kind, path, kept: one }
    case 'replace':
      return one && other && { kind, path, made: one, kept: other }
    case 'retype':
      return (
        one && other && { kind, path, made: one, kept: other, to: rest[2] === 'folder' ? 'folder' : 'other' }
      )
    case 'attributes':
      return readAttributes(path, rest)
    // An older VML has written it.
    case 'folder':
      return readAttributes(path, ['dir', ...rest])
    case 'time': {
      const [beforeNs, afterNs] = [readTime(rest[0]), readTime(rest[1])]
      return {
        path,
        ...(beforeNs === undefined ? {} : { beforeNs }),
        ...(afterNs === undefined ? {} : { afterNs }),
      }
    }
    case insideKind:
      return path
    case stampKind: {
      const [before, after] = [readStamp(rest), readStamp(rest.slice(2))]
      return { path, stamps: { ...(before ? { before } : {}), ...(after ? { after } : {}) } }
    }
    default:
      return undefined
  }
}

function readAttributes(path: RawPath, [type, ...states]: readonly unknown[]): Step | undefined {
  const [before, after] = [readState(states), readState(states.slice(4))]
  return before && after && isNodeType(type) ? { kind: 'attributes', path, type, before, after } : undefined
}

function isNodeType(value: unknown): value is NodeType {
  return typeof value === 'string' && Object.hasOwn(typeBits, value)
}

function readStamp([size, time]: readonly unknown[]): Stamp | undefined {
  const mtimeNs = readTime(time)
  if (mtimeNs === undefined) return undefined
  return { mtimeNs, ...(typeof size === 'number' ? { size } : {}) }
}

function readState([mode, uid, gid, xattrs]: readonly unknown[]): AttributeState | undefined {
  if (typeof mode !== 'number' || typeof uid !== 'number' || typeof gid !== 'number') return undefined
  if (!Array.isArray(xattrs)) return { mode, uid, gid }
  const read = xattrs.map((row: unknown) => {
    const [name, value]: readonly unknown[] = isRow(row) ? row : []
    return typeof name === 'string' && typeof value === 'string'
      ? { name: asRaw(name), value: Buffer.from(value, 'hex') }
      : undefined
  })
  const whole = read.filter((xattr) => xattr !== undefined)
  return whole.length === read.length ? { mode, uid, gid, xattrs: whole } : undefined
}

function isRow(value: unknown): value is readonly unknown[] {
  return Array.isArray(value)
}

function readPath(value: unknown): RawPath | undefined {
  if (typeof value !== 'string') return undefined
  const path = parseRawPath(asRaw(value))
  return path === value ? path : undefined
}

function readTime(value: unknown): bigint | undefined {
  return typeof value === 'string' && /^-?\d{1,20}$/.test(value) ? BigInt(value) : undefined
}
