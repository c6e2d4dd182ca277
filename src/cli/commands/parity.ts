// `vml parity`: recovery data, from which damaged and lost packs of the logbook come back.
import { VmlError } from '../../base/failure.ts'
import type { Parity, ParityState, ParityUpdate } from '../../store/parity.ts'
import { type Context, defineCommand, dryRun, flag, type NounSpec, operand } from '../command.ts'
import { formatBytes, plural } from '../format.ts'
import { shown } from '../options.ts'
import { parseShare } from '../quantities.ts'

const show = defineCommand({
  description:
    'Shows how much of the logbook is protected by recovery data, and how much room that takes. Whether the recovery data itself is whole, vml check --read-data says.',
  operands: [],
  options: {},
  examples: [
    { line: 'vml parity show', does: 'how much is protected' },
    { line: 'vml parity show --json', does: 'for programs' },
    { line: 'vml parity show --logbook /mnt/usb/logbook', does: 'of another logbook' },
  ],
  async run(context) {
    const { out } = context
    const parity = await (await context.openLogbook()).repository.openParity()
    const state = await parity.state({ ...context, readData: false })
    for (const line of parityLines(state)) out.line(line)
    out.document({ schema: 1, ...parityFacts(state) })
  },
})

const set = defineCommand({
  description:
    'Sets how much recovery data the logbook keeps, in proportion to its packs, or switches it off. With 5% two of every forty packs may be lost, or any number be damaged in different places: vml check --repair brings them back. Stock restic does not see it. It is made at once, and kept up to date by each save.',
  operands: [operand('SHARE', 'such as 5%, up to 100%, or "off"', ['5%', '10%', 'off'])],
  options: { dryRun },
  examples: [
    { line: 'vml parity set 5%', does: 'protect everything: reads the logbook once' },
    { line: 'vml parity set 20%', does: 'more of it' },
    { line: 'vml parity set off --yes', does: 'remove all recovery data' },
    { line: 'vml parity set 5% --dry-run', does: 'how much would have to be protected' },
  ],
  async run(context, { operands: [typed = ''], options }) {
    const { out } = context
    const share = parseParityShare(typed, 'SHARE')
    const parity = await (await context.openLogbook()).repository.openParity()
    const state = await parity.state({ ...context, readData: false })
    const wanted = share === undefined ? 'no recovery data' : `${percent(share)} of recovery data`
    if (options.dryRun) {
      out.line(`Would keep ${wanted}. Now:`)
      for (const line of parityLines(state)) out.line(line)
      out.document({ schema: 1, dry_run: true, share: share ?? null, now: parityFacts(state) })
      return
    }
    if (share === undefined && state.groups > 0)
      await context.confirm(
        `Remove ${formatBytes(state.bytes)} of recovery data? No entry loses anything by it.`,
      )
    await parity.set(share, context)
    const update = await parity.update(context)
    out.line(`The logbook keeps ${wanted}. ${sentenceOf(update)}`)
    if (share !== undefined) await tellWhyMore(context, parity, share)
    out.document({ schema: 1, dry_run: false, share: share ?? null, ...updateFacts(update) })
    return update.damagedPacks.length > 0 ? 20 : 0
  },
})

const update = defineCommand({
  description:
    'Protects packs that have no recovery data yet, as each save does: after stock restic wrote to the logbook, or where a run was cut off.',
  operands: [],
  options: { verify: flag('--verify', 'read all recovery data, and make anew what is damaged') },
  examples: [
    { line: 'vml parity update', does: 'protect what is not protected yet' },
    { line: 'vml parity update --verify', does: 'and see whether what is there is whole' },
    { line: 'vml parity update --json', does: 'for programs' },
  ],
  async run(context, { options }) {
    const { out } = context
    const parity = await (await context.openLogbook()).repository.openParity()
    const settings = await parity.settings(context)
    if (settings?.share === undefined)
      throw new VmlError('usage', 'Cannot update recovery data: the logbook keeps none', {
        hint: 'vml parity set 5% begins with it',
      })
    const done = await parity.update({ ...context, verify: options.verify })
    out.line(sentenceOf(done))
    out.document({ schema: 1, ...updateFacts(done) })
    return done.damagedPacks.length > 0 ? 20 : 0
  },
})

export const noun: NounSpec = {
  description: 'Recovery data: what brings damaged and lost packs of the logbook back.',
  verbs: {
    show: { summary: 'how much is protected', load: async () => show },
    set: { summary: 'how much of it to keep, or off', load: async () => set },
    update: { summary: 'protect what is not protected yet', load: async () => update },
  },
}

/** A group of few packs has rows as long as the largest of them all the same. */
async function tellWhyMore(context: Context, parity: Parity, share: number): Promise<void> {
  const { bytes, protectedBytes } = await parity.state({ ...context, readData: false })
  if (bytes <= 1.5 * share * protectedBytes) return
  const { rowsFor } = await import('../../store/parity-plan.ts')
  const packs = Math.ceil(rowsFor(share, 1) / share)
  context.out.note(
    `  More than ${percent(share)} of ${formatBytes(protectedBytes)}, since recovery data comes in whole packs, however few it protects; from about ${packs} packs on it is ${percent(share)}`,
  )
}

/** Undefined for `off`. */
export function parseParityShare(typed: string, option: string): number | undefined {
  if (typed === 'off') return undefined
  const share = parseShare(typed, option)
  if (share > 0) return share
  throw new VmlError('usage', `Cannot take "${shown(typed)}" for ${option}: it is above 0%, or off`)
}

export function parityLines(state: ParityState): readonly string[] {
  const { settings, protectedPacks, protectedBytes, unprotected, unprotectedBytes, missing, damaged } = state
  if (!settings && state.groups === 0) return ['No recovery data: vml parity set 5% begins with it']
  const share = settings?.share
  if (settings && share === undefined && state.groups === 0)
    return ['Recovery data is off: vml parity set 5% begins with it']
  return [
    `Recovery data  ${share === undefined ? 'off' : percent(share)}, ${formatBytes(state.bytes)} in ${plural(state.groups, 'group')}`,
    `protected      ${plural(protectedPacks, 'pack')}, ${formatBytes(protectedBytes)}`,
    ...(unprotected.length > 0
      ? [
          `not yet        ${plural(unprotected.length, 'pack')}, ${formatBytes(unprotectedBytes)}: vml parity update`,
        ]
      : []),
    ...(missing.length > 0
      ? [`missing        ${plural(missing.length, 'pack')}: vml check --repair brings back what can be`]
      : []),
    ...(damaged.length > 0
      ? [`damaged        ${plural(damaged.length, 'file')}: vml parity update --verify`]
      : []),
  ]
}

export function parityFacts(state: ParityState): Readonly<Record<string, unknown>> {
  return {
    share: state.settings?.share ?? null,
    groups: state.groups,
    bytes: state.bytes,
    protected_packs: state.protectedPacks,
    protected_bytes: state.protectedBytes,
    unprotected_packs: state.unprotected.length,
    unprotected_bytes: state.unprotectedBytes,
    missing_packs: state.missing.length,
    damaged: state.damaged,
  }
}

function sentenceOf({ packs, bytesWritten, filesRemoved, damagedPacks }: ParityUpdate): string {
  const parts = [
    packs > 0
      ? `Protected ${plural(packs, 'pack')} by ${formatBytes(bytesWritten)}`
      : filesRemoved > 0
        ? `Removed ${plural(filesRemoved, 'file')}`
        : 'Everything is protected',
    ...(damagedPacks.length > 0
      ? [
          `${plural(damagedPacks.length, 'pack')} could not be, since they are damaged: run vml check --repair`,
        ]
      : []),
  ]
  return parts.join('; ')
}

function updateFacts({ packs, bytesRead, bytesWritten, filesRemoved, damagedPacks }: ParityUpdate) {
  return {
    packs,
    bytes_read: bytesRead,
    bytes_written: bytesWritten,
    files_removed: filesRemoved,
    damaged_packs: damagedPacks,
  }
}

function percent(share: number): string {
  return `${Math.round(share * 100_000) / 1000}%`
}
