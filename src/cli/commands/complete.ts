// `vml __complete -- WORD…`: what the completion functions of the shells call; a line for each word, a tab, what it is.
import { complete } from '../complete.ts'
import { defineCommand } from '../command.ts'

export const command = defineCommand({
  description: 'Prints what may follow on a command line; for the functions that vml completion prints.',
  operands: [
    {
      name: 'WORD',
      description: 'words after vml; the last is being typed',
      required: false,
      many: true,
      complete: 'none',
    },
  ],
  options: {},
  examples: [
    { line: "vml __complete -- ''", does: 'all verbs' },
    { line: 'vml __complete -- show 4', does: 'entries whose number begins with 4' },
    { line: 'vml __complete -- ls 42:/home/', does: 'paths in an entry' },
  ],
  async run({ config, out, signal }, { operands }) {
    const opened = new AsyncDisposableStack()
    await using _opened = opened
    const openLogbook = async () => {
      if (!config.logbook) return undefined
      const { openLogbook: open } = await import('../../app/open.ts')
      // Neither a person nor a command is asked while somebody types.
      const quiet = { ...config, passwordCommand: undefined }
      return opened.use(await open(quiet, { signal, askSecret: () => Promise.resolve(undefined) }))
    }
    // Whatever fails: no suggestion, and no message in the middle of a command line.
    const found = await complete({ config, signal, openLogbook }, operands).catch(() => [])
    for (const { word, about } of found) out.line(about === '' ? word : `${word}\t${about}`)
    out.document(found)
  },
})
