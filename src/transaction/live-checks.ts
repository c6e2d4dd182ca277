// What is asked about a change that was made without a stage: room for it before, and what can still be told afterwards.
import { printableText } from '../base/raw-text.ts'
import type { PathChange } from '../model/transaction.ts'
import type { Validation } from '../model/transaction-record.ts'
import type { LiveCopies } from '../stage/live-capture.ts'
import { statusPath } from '../packages/dpkg-system.ts'
import { needOf, recordMarginBytes, requireSpace } from './space-need.ts'
import type { Workplace } from './workplace.ts'

/** `unavailable.space` before anything is kept or changed (A4): what is copied lies on its own file system, the record where VML's folder is. */
export function requireLiveSpace(place: Pick<Workplace, 'state'>, copies: readonly LiveCopies[]): void {
  requireSpace('record this change', [
    needOf(place.state, recordMarginBytes),
    ...copies.map(({ folder, bytes }) => needOf(folder, bytes + recordMarginBytes)),
  ])
}

const audit = ['dpkg', '--audit']
const messageCharactersMax = 4096

/** Checks look at what would be, and there was nothing that would be: the record says so. dpkg's own can be asked afterwards, too. */
export async function checkAfterwards(
  { shell, signal }: Workplace,
  changes: readonly PathChange[],
): Promise<Validation[]> {
  const before: Validation = {
    name: 'a check before the change',
    outcome: 'not run',
    message: 'it was made on the machine itself',
  }
  if (!changes.some(({ path }) => path === statusPath)) return [before]
  const { status, stdout } = await shell.run({ argv: audit, signal })
  const said = printableText(
    stdout
      .toString('utf8')
      .trim()
      .replaceAll(/\s*\n\s*/g, '; '),
  )
  const name = `${audit.join(' ')}, afterwards`
  if (status === 0 && said === '') return [before, { name, outcome: 'passed' }]
  const message = said === '' ? `it ended with status ${status}` : said.slice(0, messageCharactersMax)
  return [before, { name, outcome: 'failed', message }]
}
