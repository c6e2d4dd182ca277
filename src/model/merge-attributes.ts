// Merges mode, owner and extended attributes of a path, each by itself; content is another matter.
import { threeWay, type MergeSides } from './merge-outcome.ts'
import type { Attributes, Xattr } from './tree.ts'

/** What a merge decides of a path's attributes. */
export type MergedAttributes = Pick<Attributes, 'mode' | 'uid' | 'gid' | 'xattrs'>

export type AttributeName = 'type' | 'mode' | 'uid' | 'gid' | `xattr ${string}`

/** With conflicts, `attributes` has all that could be taken back, and ours where it could not. */
export interface AttributeMerge {
  readonly attributes: MergedAttributes
  readonly conflicts: readonly AttributeName[]
}

/**
 * A path that is another type of thing now than k left, or than it was before k, keeps what it has: rights of a file say nothing about a folder.
 * An extended attribute that was taken off later stays off.
 */
export function mergeAttributes(sides: {
  readonly [side in keyof MergeSides<unknown>]: Attributes
}): AttributeMerge {
  const { base, ours, theirs } = sides
  const types = new Set([base.type, ours.type, theirs.type])
  if (types.size > 1) return { attributes: own(ours), conflicts: ['type'] }
  const conflicts: AttributeName[] = []
  const pick = (name: 'mode' | 'uid' | 'gid'): number => {
    const merged = threeWay({ base: base[name], ours: ours[name], theirs: theirs[name] })
    if (merged === undefined) conflicts.push(name)
    return merged?.value ?? ours[name]
  }
  const [mode, uid, gid] = [pick('mode'), pick('uid'), pick('gid')]
  const xattrs = mergeXattrs({ base: byName(base), ours: byName(ours), theirs: byName(theirs) }, conflicts)
  return { attributes: { mode, uid, gid, ...(xattrs.length === 0 ? {} : { xattrs }) }, conflicts }
}

function own({ mode, uid, gid, xattrs }: Attributes): MergedAttributes {
  return { mode, uid, gid, ...(xattrs === undefined ? {} : { xattrs }) }
}

function byName({ xattrs = [] }: Attributes): Map<string, Xattr> {
  return new Map(xattrs.map((xattr) => [xattr.name, xattr]))
}

function mergeXattrs(
  sides: { readonly [side in keyof MergeSides<unknown>]: ReadonlyMap<string, Xattr> },
  conflicts: AttributeName[],
): Xattr[] {
  return [...new Set([...sides.ours.keys(), ...sides.theirs.keys()])].sort().flatMap((name) => {
    const [base, ours, theirs] = [sides.base.get(name), sides.ours.get(name), sides.theirs.get(name)]
    const merged = threeWay({ base: valueOf(base), ours: valueOf(ours), theirs: valueOf(theirs) })
    if (merged === undefined) conflicts.push(`xattr ${name}`)
    if (merged === undefined || merged.value === valueOf(ours)) return ours ?? []
    return merged.value === undefined ? [] : (theirs ?? [])
  })
}

function valueOf(xattr: Xattr | undefined): string | undefined {
  return xattr === undefined ? undefined : Buffer.from(xattr.value).toString('latin1')
}
