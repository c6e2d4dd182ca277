// Which packs are protected together: a pure function of what there is and what is wanted. docs/format.md, "Parity", "Groups".
import type { PackId } from '../model/ids.ts'
import type { FoundGroup } from './parity.ts'

export interface ParityQuestion {
  /** Above 0, up to 1. */
  readonly share: number
  /** Packs that are there, with their sizes. */
  readonly present: ReadonlyMap<PackId, number>
  readonly isNamed: (pack: PackId) => boolean
  readonly groups: readonly FoundGroup[]
}

export interface ParityPlan {
  /** Members to add to a group that is whole, in order; its files go when the new ones are there. */
  readonly extend: readonly { readonly found: FoundGroup; readonly packs: readonly PackId[] }[]
  /** New groups. */
  readonly make: readonly { readonly rows: number; readonly packs: readonly PackId[] }[]
  /** Groups that go when all of the above is there. */
  readonly remove: readonly FoundGroup[]
}

/** Rows are in memory while a group is made: at most so many, of so many bytes together. */
const rowsMost = 4
const rowsBytesMost = 96 * 1024 * 1024
/** 5 % is two rows over forty packs: two packs of a group may be lost. */
const packsWanted = 40
/** Smaller shares reach further, up to here; the field has 240 columns. */
const packsMost = 200
const smallestClassBytes = 64 * 1024

/** Packs of similar size lie in one group, since a row is as long as the largest: each class ends at four times the one before. */
export function sizeClass(bytes: number): number {
  let top = smallestClassBytes
  while (top < bytes) top *= 4
  return top
}

export function rowsFor(share: number, classBytes: number): number {
  const byMemory = Math.floor(rowsBytesMost / classBytes)
  return Math.max(1, Math.min(Math.round(share * packsWanted), byMemory, rowsMost))
}

interface Sized {
  readonly count: number
  readonly rows: number
  readonly rowBytes: number
  readonly bytes: number
}

/** Closed as soon as its rows are no more than the share. */
function isFull({ count, rows, rowBytes, bytes }: Sized, share: number): boolean {
  return count >= packsMost || rows * rowBytes <= share * bytes
}

/** So many packs for its rows that no run with this share would have put them together. */
function isWeak({ rows, rowBytes, bytes }: Sized, share: number): boolean {
  return rows * rowBytes < share * (bytes - rowBytes)
}

/**
 * Where a pack of a group is gone that an index names, the group stays as it is, whatever else: it is the only way to that pack. A pack that is gone and
 * that no index names was deleted on purpose; the others of its group are protected anew, and then it goes.
 */
export function planParity({ share, present, isNamed, groups }: ParityQuestion): ParityPlan {
  const covered = new Set<PackId>()
  const keep = ({ members }: FoundGroup) => members.forEach(({ pack }) => covered.add(pack))
  const isThere = ({ pack, bytes }: FoundGroup['members'][number]) => present.get(pack) === bytes
  const isWounded = ({ members }: FoundGroup) =>
    members.some((member) => !isThere(member) && isNamed(member.pack))
  const [wounded, others] = split(groups, isWounded)
  wounded.forEach(keep)

  const remove: FoundGroup[] = []
  const open = new Map<number, FoundGroup>()
  // Large groups first: where two cover the same packs, the smaller one goes.
  for (const found of others.toSorted(compareGroups)) {
    const { members } = found
    const size = sizedOf(found)
    const classBytes = sizeClass(found.rowBytes)
    const isWhole = found.files.every((file) => file?.whole) && members.every(isThere)
    const isNews = members.some(({ pack }) => !covered.has(pack))
    const isExtendable = !open.has(classBytes) && size.rows === rowsFor(share, classBytes)
    const stays = isWhole && isNews && !isWeak(size, share) && (isFull(size, share) || isExtendable)
    if (!stays) {
      remove.push(found)
      continue
    }
    keep(found)
    if (!isFull(size, share)) open.set(classBytes, found)
  }
  const free = [...present].filter(([pack]) => isNamed(pack) && !covered.has(pack))
  return { ...placeFree(free, open, share), remove }
}

function placeFree(
  free: readonly (readonly [PackId, number])[],
  open: ReadonlyMap<number, FoundGroup>,
  share: number,
): Pick<ParityPlan, 'extend' | 'make'> {
  const extend: ParityPlan['extend'][number][] = []
  const make: ParityPlan['make'][number][] = []
  const byClass = Map.groupBy(
    free.toSorted(([left], [right]) => (left < right ? -1 : 1)),
    ([, bytes]) => sizeClass(bytes),
  )
  for (const [classBytes, packs] of byClass) {
    const found = open.get(classBytes)
    let size = found ? sizedOf(found) : emptyGroup(rowsFor(share, classBytes))
    let isFirst = found !== undefined
    let members: PackId[] = []
    const close = () => {
      if (members.length > 0) {
        if (isFirst && found) extend.push({ found, packs: members })
        else make.push({ rows: size.rows, packs: members })
      }
      isFirst = false
      members = []
      size = emptyGroup(rowsFor(share, classBytes))
    }
    for (const [pack, bytes] of packs) {
      members.push(pack)
      size = {
        rows: size.rows,
        count: size.count + 1,
        rowBytes: Math.max(size.rowBytes, bytes),
        bytes: size.bytes + bytes,
      }
      if (isFull(size, share)) close()
    }
    close()
  }
  return { extend, make }
}

function emptyGroup(rows: number): Sized {
  return { rows, count: 0, rowBytes: 0, bytes: 0 }
}

function sizedOf({ members, files, rowBytes }: FoundGroup): Sized {
  return {
    count: members.length,
    rows: files.length,
    rowBytes,
    bytes: members.reduce((sum, { bytes }) => sum + bytes, 0),
  }
}

function compareGroups(left: FoundGroup, right: FoundGroup): number {
  return right.members.length - left.members.length || (left.id < right.id ? -1 : 1)
}

function split<T>(items: readonly T[], test: (item: T) => boolean): readonly [T[], T[]] {
  return [items.filter(test), items.filter((item) => !test(item))]
}
