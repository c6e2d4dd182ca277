// Asks a person for a new recovery key, or shows one that was made up.
import { VmlError } from '../base/failure.ts'
import type { Context } from './command.ts'

const passwordBytesMin = 8

/** Undefined where one is to be generated, which only a person can read and keep. Fails with `usage` without a terminal. */
export async function askRecoveryKey(
  context: Pick<Context, 'askSecret'>,
  words: { readonly what: string; readonly unchanged: string; readonly hint: string },
): Promise<Buffer | undefined> {
  const { what, unchanged, hint } = words
  const typed = await context.askSecret('Recovery key (empty: one is made and shown once)')
  if (typed === undefined)
    throw new VmlError('usage', `Cannot ${what} without a recovery key: ${unchanged}`, { hint })
  if (typed === '') return undefined
  const key = requireLongEnough(Buffer.from(typed), unchanged)
  const again = await context.askSecret('The same again')
  if (again !== typed) throw new VmlError('usage', `Cannot ${what}: the two keys differ, and ${unchanged}`)
  return key
}

/** Of every password that is to open a logbook from now on, wherever it comes from; one that opens it already is taken as it is. */
export function requireLongEnough(password: Buffer, unchanged: string): Buffer {
  if (password.length >= passwordBytesMin) return password
  throw new VmlError(
    'usage',
    `Cannot take a recovery key of less than ${passwordBytesMin} characters: ${unchanged}`,
    {
      hint: 'Who gets at the files of the logbook can try short ones one after the other: take a longer one',
    },
  )
}

export function showOnce({ out }: Pick<Context, 'out'>, secret: string): void {
  // Standard error is a terminal here: nothing is generated otherwise. Not a note, which --quiet would hide.
  process.stderr.write(
    `\nThe recovery key. It is shown only now; without it the logbook is lost with this computer:\n\n    ${out.noteStyle.bold(secret)}\n\n`,
  )
}
