// `vml status [MACHINE]`: last saves and the logbook's health; for one machine also what is not saved yet.
import type { PlaceSize } from '../../app/damaged-places.ts'
import type { Logbook } from '../../app/open.ts'
import { VmlError } from '../../base/failure.ts'
import { entryName, listEntries } from '../../engine/entries.ts'
import { machineStatuses, type MachineStatus } from '../../engine/status.ts'
import type { Comparison } from '../../model/compare.ts'
import { type Context, defineCommand, flag } from '../command.ts'
import { formatAgo, formatBytes, plural } from '../format.ts'
import { shown } from '../options.ts'
import { comparisonStatus, summarizeNotCompared } from '../not-compared.ts'
import type { Output } from '../output.ts'
import { table } from '../style.ts'

export const command = defineCommand({
  description:
    'Tells when each machine was saved last and how the logbook is. For one machine it also looks at the machine and tells what is not saved yet.',
  operands: [
    { name: 'MACHINE', description: 'look at this machine too', required: false, complete: 'machine' },
  ],
  options: {
    exitCode: flag(
      '--exit-code',
      'exit with 21 where something is not saved, with 3 where nothing is known to be and something could not be compared',
    ),
  },
  examples: [
    { line: 'vml status', does: 'all machines, without asking them' },
    { line: 'vml status lab', does: 'what changed on one since its last entry' },
    { line: 'vml status lab --exit-code --quiet', does: 'for scripts' },
  ],
  async run(context, { operands: [machine], options }) {
    const { config, clock, out, signal } = context
    context.whenCancelled('nothing was changed')
    const logbook = await context.openLogbook()
    const { measureStorage } = await import('../../app/storage.ts')
    const { requireLogbook } = await import('../../app/open.ts')
    const entries = await listEntries(logbook, { signal, reporter: context.reporter })
    const statuses = machineStatuses(entries, new Set(config.machines.keys()))
    const storage = await measureStorage(config, requireLogbook(config).value, context)
    const damaged = await findDamagedPlaces(context, logbook)
    const one = machine === undefined ? undefined : statuses.find((status) => status.machine === machine)
    if (machine !== undefined && !one)
      throw new VmlError(
        'not-found',
        `Cannot find machine "${machine}" in the configuration or the logbook`,
        {
          hint: 'See the names: vml machine list',
        },
      )
    const unsaved = one && (await compareWithNow(context, one))
    out.document({
      schema: 1,
      logbook: {
        location: logbook.location,
        id: logbook.repository.id,
        entries: entries.length,
        ...storage,
        damaged_places: damaged,
      },
      machines: (one ? [one] : statuses).map(({ last, safetyEntries, ...status }) => ({
        ...status,
        safety_entries: safetyEntries,
        last: last
          ? { id: last.id, number: last.number ?? null, title: last.title, time: last.snapshot.time }
          : null,
      })),
      ...(unsaved
        ? {
            unsaved: {
              identical: unsaved.identical && unsaved.notCompared.length === 0,
              totals: unsaved.totals,
              not_compared: new Set(unsaved.notCompared.map(({ path }) => path)).size,
            },
          }
        : {}),
    })
    printMachines(out, one ? [one] : statuses, clock.now())
    if (unsaved) printUnsaved(out, unsaved)
    const locks = storage.locks === 0 ? '' : `, ${plural(storage.locks, 'lock')}`
    out.line(
      out.style.dim(
        `${logbook.location}: ${plural(entries.length, 'entry', 'entries')}, ${formatBytes(storage.bytes)} in ${plural(storage.packs, 'pack')}${locks}`,
      ),
    )
    for (const place of damaged) out.line(`  ${out.style.yellow(describePlace(place))}`)
    if (!options.exitCode || !unsaved) return 0
    return comparisonStatus({ different: !unsaved.identical, incomplete: unsaved.notCompared.length > 0 })
  },
})

interface DamagedPlace extends PlaceSize {
  readonly path: string
}

async function findDamagedPlaces({ config, signal }: Context, logbook: Logbook): Promise<DamagedPlace[]> {
  const { damagedPlaces, measurePlace } = await import('../../app/damaged-places.ts')
  const found: DamagedPlace[] = []
  for (const path of await damagedPlaces(config, logbook))
    found.push({ path, ...(await measurePlace(path, signal)) })
  return found
}

function describePlace({ path, files, bytes, complete }: DamagedPlace): string {
  const size = `${complete ? '' : 'at least '}${plural(files, 'file')}, ${formatBytes(bytes)}`
  return `A repair kept damaged files in ${shown(path)} (${size}): once vml check --read-data finds no damage and you need them no more, remove that folder`
}

function printMachines(out: Output, statuses: readonly MachineStatus[], now: number): void {
  const rows = statuses.map(({ machine, last, entries, safetyEntries, configured }) => [
    out.style.bold(shown(machine)),
    last ? formatAgo(now - last.takenAt.getTime()) : 'never saved',
    last ? `${entryName(last)} ${shown(last.title)}`.trimEnd() : '',
    [
      plural(entries, 'entry', 'entries'),
      ...(safetyEntries === 0 ? [] : [plural(safetyEntries, 'safety entry', 'safety entries')]),
    ].join(', '),
    configured ? '' : out.style.dim('not in config.toml'),
  ])
  for (const line of table(rows)) out.line(line)
}

function printUnsaved(out: Output, comparison: Comparison): void {
  const { identical, left, totals, packages, environment } = comparison
  const missed = summarizeNotCompared(comparison)
  const see = `see vml diff ${left.replace('#', '')} now`
  if (identical) {
    if (missed === '') out.line(`  ${out.style.green('nothing has changed')} since ${left}`)
    else out.line(`  ${out.style.yellow(`cannot tell of ${missed}`)}; nothing else has changed; ${see}`)
    return
  }
  const paths = totals.added + totals.deleted + totals.changed + totals.renamed + totals.attributes
  const parts = [
    paths > 0 ? plural(paths, 'path') : '',
    packages?.length ? plural(packages.length, 'package') : '',
    environment?.length ? plural(environment.length, 'variable') : '',
  ].filter((part) => part !== '')
  out.line(
    `  ${out.style.yellow('not saved')} since ${left}: ${parts.join(', ') || 'facts of the machine'}${missed === '' ? '' : `; cannot tell of ${missed}`}; ${see}`,
  )
}

async function compareWithNow(
  context: Context,
  { last, configured }: MachineStatus,
): Promise<Comparison | undefined> {
  if (!last || last.kind === 'foreign' || !configured) return undefined
  const { compareNamed } = await import('../../app/compare-named.ts')
  await using named = await compareNamed(context, await context.openLogbook(), {
    left: last.id,
    right: 'now',
  })
  return named.comparison
}
