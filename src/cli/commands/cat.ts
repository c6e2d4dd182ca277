// `vml cat ENTRY:/path`: the bytes of a file, as they were.
import type { Logbook } from '../../app/open.ts'
import { VmlError } from '../../base/failure.ts'
import { entryWord, type LoggedEntry } from '../../engine/entries.ts'
import { findEntry, readPath } from '../../engine/look.ts'
import { vmlPath } from '../../engine/vml-path.ts'
import { isWithin, type RawPath } from '../../model/raw-path.ts'
import { type Context, defineCommand } from '../command.ts'
import { entryPathOperand } from '../options.ts'

const zeros = new Uint8Array(64 * 1024)

export const command = defineCommand({
  description:
    'Prints the content of a file of an entry, byte for byte. Of a transaction it is the file as it was before it. --json changes nothing of that.',
  operands: [entryPathOperand],
  options: {},
  examples: [
    { line: 'vml cat 42:/home/lab/fit.C', does: 'look at a file as it was' },
    { line: 'vml cat lab@-1:/etc/hosts > hosts', does: 'take it out' },
    {
      line: 'vml cat 7:/usr/bin/fit --logbook /var/lib/vml/logbook > fit',
      does: 'as it was before transaction #7',
    },
    { line: 'vml cat @latest:/home/lab/data.tar | tar -t', does: 'give it to another program' },
  ],
  async run(context, { operands: [typed = ''] }) {
    const { out, signal } = context
    context.whenCancelled('nothing was changed')
    const logbook = await context.openLogbook()
    const { entry, path } = await findEntry(logbook, typed, { signal, reporter: context.reporter })
    if (path === undefined) {
      const word = entryWord(entry)
      throw new VmlError('usage', `Cannot print "${typed}": it names no path`, {
        hint: `Write ${word}:/path; see the paths with vml ls ${word}`,
      })
    }
    const recorded = await recordedContent(context, logbook, { entry, path })
    if (recorded) return await out.bytes(recorded)
    for await (const segment of await readPath(logbook.repository, { entry, path }, signal)) {
      signal.throwIfAborted()
      if (segment.kind === 'data') await out.bytes(segment.bytes)
      else
        for (let left = segment.length; left > 0; left -= zeros.length)
          await out.bytes(left < zeros.length ? zeros.subarray(0, left) : zeros)
    }
  },
})

/** The tree of a transaction's entry has what is kept as content only. */
async function recordedContent(
  context: Context,
  logbook: Logbook,
  file: { readonly entry: LoggedEntry; readonly path: RawPath },
): Promise<Buffer | undefined> {
  if (file.entry.kind !== 'transaction' || isWithin(file.path, vmlPath)) return undefined
  const { readRecordedFile } = await import('../../app/recorded-files.ts')
  return await readRecordedFile(context, logbook, file)
}
