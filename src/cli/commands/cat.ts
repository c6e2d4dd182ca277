// `vml cat ENTRY:/path`: the bytes of a file, as they were.
import { VmlError } from '../../base/failure.ts'
import { entryWord } from '../../engine/entries.ts'
import { findEntry, readPath } from '../../engine/look.ts'
import { defineCommand } from '../command.ts'
import { entryPathOperand } from '../options.ts'

const zeros = new Uint8Array(64 * 1024)

export const command = defineCommand({
  description: 'Prints the content of a file of an entry, byte for byte. --json changes nothing of that.',
  operands: [entryPathOperand],
  options: {},
  examples: [
    { line: 'vml cat 42:/home/lab/fit.C', does: 'look at a file as it was' },
    { line: 'vml cat lab@-1:/etc/hosts > hosts', does: 'take it out' },
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
    for await (const segment of await readPath(logbook.repository, { entry, path }, signal)) {
      signal.throwIfAborted()
      if (segment.kind === 'data') await out.bytes(segment.bytes)
      else
        for (let left = segment.length; left > 0; left -= zeros.length)
          await out.bytes(left < zeros.length ? zeros.subarray(0, left) : zeros)
    }
  },
})
