// Says where the entries of one machine come from different hosts: two computers may use the same name for themselves.
import type { Reporter } from '../base/progress.ts'
import { printableText } from '../base/raw-text.ts'
import type { EntryDocument } from '../model/entry.ts'
import { entryName, type LoggedEntry } from './entries.ts'
import type { OpenMachine, SaveBase } from './save.ts'

type Open = Pick<OpenMachine, 'machine' | 'facts'>

/** Before a save: the entries of both would be one line in the log. */
export function warnOfOtherHost(last: SaveBase | undefined, open: Open, reporter: Reporter): void {
  const hosts = last && differing(last.document, open)
  if (!hosts) return
  reporter.warn({
    warning: `The last entry of ${open.machine.name}, ${entryName(last.entry)}, was taken on ${hosts.before}, and this is ${hosts.now}. If these are two machines, give one of them another name: vml machine add`,
  })
}

/** Before a restore to this computer. */
export function warnOfForeignHost(
  { entry, document }: { readonly entry: LoggedEntry; readonly document: EntryDocument | undefined },
  open: Open,
  reporter: Reporter,
): void {
  const hosts = document && differing(document, open)
  if (!hosts) return
  reporter.warn({
    warning: `${entryName(entry)} was taken on ${hosts.before}, and this is ${hosts.now}: they share the name ${open.machine.name}`,
  })
}

/** Where one of them does not tell its name, nothing is known of a difference. */
function differing(
  { facts: { hostname: before } }: EntryDocument,
  { facts: { hostname: now } }: Open,
): { readonly before: string; readonly now: string } | undefined {
  if (before === undefined || now === undefined || before === now) return undefined
  return { before: printableText(before), now: printableText(now) }
}
