// `vml check`: whether everything in the logbook is there and whole.
import { VmlError } from '../../base/failure.ts'
import { entryName, listEntries } from '../../engine/entries.ts'
import { shortId } from '../../model/ids.ts'
import { defineCommand, flag } from '../command.ts'
import { formatBytes, formatDuration, plural } from '../format.ts'
import { shown } from '../options.ts'
import { keepPrunesOut } from '../read-lock.ts'

/** Paths of a damaged entry that are named without -v. */
const pathsShown = 5

export const command = defineCommand({
  description:
    'Checks that every entry can be read whole: keys, index, trees and packs; with --read-data every byte. Names what is damaged and which entries it affects.',
  operands: [],
  options: {
    readData: flag('--read-data', 'read, decrypt and hash every pack'),
    lock: flag('--no-lock', 'look even while another program holds the logbook alone'),
  },
  examples: [
    { line: 'vml check', does: 'structure: seconds' },
    { line: 'vml check --read-data', does: 'every byte: as long as reading the logbook takes' },
    { line: 'vml check --json', does: 'for programs: the exit status is 20 where something is damaged' },
  ],
  async run(context, { options }) {
    const { out, signal, clock } = context
    const started = clock.now()
    const logbook = await context.openLogbook()
    await using _lock = options.lock ? await keepPrunesOut(context, logbook.repository, 'strict') : undefined
    const report = await logbook.repository.check({
      readData: options.readData,
      reporter: context.reporter,
      signal,
    })
    const damage = report.findings.filter((finding) => finding.severity === 'damage')
    // Only for names: where the log itself cannot be read the finding says so already.
    const entries = await listEntries(logbook, { signal }).catch(() => [])
    const names = new Map(entries.map((entry) => [entry.snapshot.id, entryName(entry)]))
    for (const finding of report.findings) {
      const { severity, what, id, message, affects } = finding
      out.message({
        message_type: severity === 'damage' ? 'error' : 'verbose_status',
        error: { message },
        during: 'check',
        what,
        item: id,
        affects: affects.map(({ snapshot, paths }) => ({
          snapshot,
          entry: names.get(snapshot) ?? null,
          paths,
        })),
      })
      const mark = severity === 'damage' ? out.style.red('damaged') : out.style.yellow('notice')
      out.line(`${mark}  ${what} ${shortId(id)}: ${shown(message)}`)
      for (const { snapshot, paths } of affects) {
        const some = out.verbose ? paths : paths.slice(0, pathsShown)
        const more = paths.length > some.length ? ` and ${paths.length - some.length} more` : ''
        out.line(
          `    affects ${names.get(snapshot) ?? shortId(snapshot)}: ${some.map(shown).join(', ')}${more}`,
        )
      }
    }
    const { snapshots, packs, blobs, bytesRead } = report
    const read = options.readData ? `, ${formatBytes(bytesRead)} read` : ''
    out.summary(
      `Checked ${plural(snapshots, 'entry', 'entries')}, ${plural(packs, 'pack')}, ${plural(blobs, 'blob')}${read} in ${formatDuration(clock.now() - started)}: ${damage.length === 0 ? 'no damage' : `${damage.length} damaged`}`,
      {
        snapshots,
        packs,
        blobs,
        bytes_read: bytesRead,
        num_errors: damage.length,
        unused_packs: report.unusedPacks.length,
      },
    )
    const [first] = damage
    if (first)
      throw new VmlError(
        'integrity.missing',
        `The logbook is damaged: ${plural(damage.length, 'finding')}, and nothing was changed`,
        {
          details: { findings: damage.length },
          hint: 'Entries that are not named above are whole. Copy the logbook before any repair',
        },
      )
  },
})
