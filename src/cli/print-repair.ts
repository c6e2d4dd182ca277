// A plan of `vml check --repair`, in words.
import type { EntryRepair, RepairPlan } from '../engine/repair.ts'
import { shortId } from '../model/ids.ts'
import { formatBytes, plural } from './format.ts'
import { shown } from './options.ts'
import type { Output } from './output.ts'

/** Paths of an entry that are named without -v. */
const pathsShown = 5

export function printRepairPlan(out: Output, plan: RepairPlan): void {
  const { style } = out
  for (const { pack, state, message, salvaged, lost, healed } of plan.packs) {
    const outcome = healed
      ? style.green('healed')
      : [
          ...(salvaged > 0 ? [`${plural(salvaged, 'blob')} saved`] : []),
          lost > 0 ? style.red(`${plural(lost, 'blob')} lost`) : 'nothing lost',
        ].join(', ')
    out.line(`pack ${shortId(pack)}: ${state === 'missing' ? 'missing' : shown(message)}: ${outcome}`)
  }
  for (const { id, message } of plan.damagedIndexes)
    out.line(`index ${shortId(id)}: ${shown(message)}: made anew from the packs`)
  for (const id of plan.wrongIndexes) out.line(`index ${shortId(id)}: made anew without what is not there`)
  if (plan.packsToIndex > 0) out.line(`${plural(plan.packsToIndex, 'pack')} that no index names: named again`)
  for (const { id, message, renamedTo } of plan.damagedKeys)
    out.line(
      renamedTo === undefined
        ? `key ${shortId(id)}: ${shown(message)}: ${style.red('lost')}; vml key add --recovery makes another password, vml key add one for a computer`
        : `key ${shortId(id)}: ${shown(message)}: kept as ${shortId(renamedTo)}; it may not open any more: where its password fails, vml key remove ${shortId(renamedTo)}, and vml key add --recovery makes another one`,
    )
  for (const { id, message } of plan.damagedSnapshots) out.line(`snapshot ${shortId(id)}: ${shown(message)}`)
  for (const id of plan.unknownSnapshots)
    out.line(
      `snapshot ${shortId(id)}: ${style.red('lost')}: nothing tells which entry it was; what no other entry needs of it goes with the next prune`,
    )
  for (const entry of plan.entries) printEntry(out, entry)
  if (plan.unreadableTrees > 0)
    out.line(
      `${plural(plan.unreadableTrees, 'folder')} of entries cannot be read by VML though every byte is there: left as they are`,
    )
}

function printEntry(out: Output, entry: EntryRepair): void {
  const { style } = out
  const name = entry.number === null ? shortId(entry.entry) : `#${entry.number}`
  const { lostFiles, lostFolders, lostBytes } = entry
  const found =
    entry.recoveredFrom === undefined
      ? ''
      : ` found again ${entry.recoveredFrom === 'catalogue' ? "in this computer's catalogue" : 'by its tree'};`
  const lost = [
    ...(lostFiles > 0 ? [`${plural(lostFiles, 'file')} (${formatBytes(lostBytes)})`] : []),
    ...(lostFolders > 0
      ? [`${plural(lostFolders, 'folder')} with everything in ${lostFolders === 1 ? 'it' : 'them'}`]
      : []),
  ]
  out.line(
    `entry ${name} ${shown(entry.title)}:${found} ${lost.length === 0 ? 'nothing lost' : style.red(`${lost.join(' and ')} lost`)}`,
  )
  const paths = out.verbose ? entry.lost : entry.lost.slice(0, pathsShown)
  for (const { path, type } of paths) out.line(`    ${path}${type === 'folder' && path !== '/' ? '/' : ''}`)
  const more = lostFiles + lostFolders - paths.length
  if (more > 0) out.line(style.dim(`    and ${more} more`))
}
