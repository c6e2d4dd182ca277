// Whether apt, with all of its configuration, does what the hooks are there for: another file may say otherwise.
import { VmlError } from '../base/failure.ts'
import { printable, rawFromBytes } from '../base/raw-text.ts'
import type { Shell } from '../wire/shell.ts'
import { aptConfiguration, hookFolder } from './hook-scripts.ts'
import { lines } from './package-records.ts'

export type HooksInUse =
  /** Each dpkg of apt goes through ours. */
  | { readonly kind: 'staged' }
  /** Transactions are recorded, but without a stage: `setting` is what leads past our dpkg. */
  | { readonly kind: 'live'; readonly setting: string }
  /** apt does not call the hooks; those of dpkg are on their own. */
  | { readonly kind: 'none' }

const outputBytesMax = 16 * 1024 * 1024
const ownCommands = [...aptConfiguration.matchAll(/DPkg::(Pre|Post)-Invoke \{ "(.*)"; \};/g)].map(
  ([, when = '', command = '']) => `DPkg::${when}-Invoke::=${command}`,
)

/** To be asked after the hooks were put in place, and on a look at the machine's state. */
export async function hooksInUse(shell: Shell): Promise<HooksInUse> {
  const { status, stdout, stderr } = await shell.run({
    argv: ['env', 'LC_ALL=C', 'apt-config', 'dump', '--no-empty', '--format', '%f=%v%n'],
    outputBytesMax,
  })
  if (status !== 0)
    throw new VmlError('remote.command', `Cannot read apt's configuration of ${shell.label}`, {
      details: { status, stderr: printable(rawFromBytes(stderr.subarray(-2048))) },
    })
  const settings = new Set(lines(rawFromBytes(stdout)))
  if (!ownCommands.every((command) => settings.has(command))) return { kind: 'none' }
  const past = [...settings].find(
    (line) =>
      (/^Dir::Bin::dpkg=/i.test(line) && !line.endsWith('=dpkg')) ||
      (/^DPkg::Path=/i.test(line) && !line.slice('DPkg::Path='.length).startsWith(`${hookFolder}/bin:`)) ||
      /^DPkg::Chroot-Directory=(?!\/$)/i.test(line),
  )
  return past === undefined
    ? { kind: 'staged' }
    : { kind: 'live', setting: printable(rawFromBytes(Buffer.from(past, 'latin1'))) }
}
