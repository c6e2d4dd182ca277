// Runs a short script on a machine that reads a package database; the answer's first line says what follows.
import { VmlError } from '../base/failure.ts'
import { printable, rawFromBytes } from '../base/raw-text.ts'
import type { PackageSet } from '../model/packages.ts'
import type { InquiryAnswer, PackageManager } from './package-manager.ts'
import { inventoryBytesMax } from './package-records.ts'

export interface Answer {
  /** The script's first line. */
  readonly kind: string
  readonly text: string
}

export const inquiryLimits = { timeoutMs: 60_000, outputBytesMax: inventoryBytesMax }

/** Of a script that means that this manager is not the machine's. */
const notThisManagerStatus = 3

/** A manager that asks by a script of its own. Any other status of the script than 0 and 3 is a failure. */
export function askedBy({
  parse,
  ...manager
}: Pick<PackageManager, 'name' | 'inquiry' | 'compareVersions'> & {
  readonly parse: (answer: Answer, label: string) => PackageSet
}): PackageManager {
  const parseInventory = ({ status, stdout }: InquiryAnswer, label: string): PackageSet | undefined =>
    status === notThisManagerStatus ? undefined : parse(splitAnswer(stdout), label)
  return {
    ...manager,
    parseInventory,
    async inventory(shell, { signal } = {}) {
      const { script, words, outputBytesMax } = manager.inquiry
      const { status, stdout, stderr } = await shell.run({
        argv: ['sh', '-c', script, 'sh', ...words],
        outputBytesMax,
        endsWhole: true,
        signal,
      })
      if (status === 0 || status === notThisManagerStatus)
        return parseInventory({ status, stdout }, shell.label)
      throw new VmlError(
        'remote.command',
        `Cannot read the packages of ${shell.label}: ${manager.name} failed`,
        {
          details: { status, stderr: printable(rawFromBytes(stderr.subarray(-2048))) },
        },
      )
    },
  }
}

function splitAnswer(stdout: Buffer): Answer {
  const end = stdout.indexOf('\n')
  const head = end === -1 ? stdout : stdout.subarray(0, end)
  return {
    kind: head.subarray(0, 64).toString('latin1'),
    text: end === -1 ? '' : stdout.toString('latin1', end + 1),
  }
}
