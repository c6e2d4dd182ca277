// `vml reindex`: makes the catalogue again from the logbook.
import { listEntries, rebuildCatalog } from '../../engine/entries.ts'
import { defineCommand } from '../command.ts'
import { plural } from '../format.ts'

export const command = defineCommand({
  description:
    'Makes the catalogue again from the logbook. The catalogue is a cache on this computer; the logbook is not changed.',
  operands: [],
  options: {},
  examples: [
    { line: 'vml reindex', does: 'read every entry anew' },
    { line: 'vml reindex --json', does: 'the same for programs' },
    { line: 'vml log', does: 'what the catalogue is for' },
  ],
  async run(context) {
    const { out, signal, reporter } = context
    const logbook = await context.openLogbook()
    await rebuildCatalog(logbook, { signal, reporter })
    const entries = await listEntries(logbook, { signal })
    out.line(`Catalogued ${plural(entries.length, 'entry', 'entries')}`)
    out.document({ schema: 1, entries: entries.length })
  },
})
