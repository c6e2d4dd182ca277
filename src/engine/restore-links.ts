// Names of one file in what a restore writes.
import type { RawPath } from '../model/raw-path.ts'
import type { TreeNode } from '../model/tree.ts'
import type { PlannedWrite } from './restore-plan.ts'

/** The same for all names of one file; undefined where it has one name only. */
export function linkKey(node: TreeNode): string | undefined {
  if (node.type === 'dir' || node.inode === undefined || (node.links ?? 1) < 2) return undefined
  return `${node.deviceId ?? 0n}:${node.inode}`
}

/** Of several names of a file the first is written, the others are linked to it. */
export function orderLinks(writes: readonly PlannedWrite[]): PlannedWrite[] {
  const first = new Map<string, RawPath>()
  return writes.map((each) => {
    const key = linkKey(each.node)
    if (key === undefined) return each
    const target = first.get(key)
    if (target !== undefined) return { ...each, hardLinkTo: target }
    first.set(key, each.path)
    return each
  })
}
