// Runs a short script on a machine that reads a package database; the answer's first line says what follows.
import { VmlError } from '../base/failure.ts'
import { printable, rawFromBytes } from '../base/raw-text.ts'
import type { PackageManagerName } from '../model/packages.ts'
import type { Shell } from '../wire/shell.ts'
import { inventoryBytesMax } from './package-records.ts'

export interface Answer {
  /** The script's first line. */
  readonly kind: string
  readonly text: string
}

/** Status 3 of the script means that this manager is not the machine's: undefined. Any other failure is one. */
export async function ask(
  shell: Shell,
  request: {
    readonly manager: PackageManagerName
    readonly script: string
    readonly words: readonly string[]
    readonly signal?: AbortSignal | undefined
  },
): Promise<Answer | undefined> {
  const { status, stdout, stderr } = await shell.run({
    argv: ['sh', '-c', request.script, 'sh', ...request.words],
    outputBytesMax: inventoryBytesMax,
    signal: request.signal,
  })
  if (status === 3) return undefined
  if (status !== 0)
    throw new VmlError(
      'remote.command',
      `Cannot read the packages of ${shell.label}: ${request.manager} failed`,
      {
        details: { status, stderr: printable(rawFromBytes(stderr.subarray(-2048))) },
      },
    )
  const end = stdout.indexOf('\n')
  const head = end === -1 ? stdout : stdout.subarray(0, end)
  return {
    kind: head.subarray(0, 64).toString('latin1'),
    text: end === -1 ? '' : stdout.toString('latin1', end + 1),
  }
}
