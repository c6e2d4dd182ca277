// The words by which a remote shell says that a program starts, and how it ended.
import { VmlError } from '../base/failure.ts'

/** What the start-up files of a login shell may print before a program starts. */
export const noiseBytesMax = 64 * 1024

/** Script that tells the shell's process id on standard output. */
export function startMark(nonce: string): string {
  return `printf "${nonce}:%d;" $$`
}

/** Script that tells the last status on standard error. */
export function statusMark(nonce: string): string {
  return `printf "${nonce}:%d;" $? >&2`
}

/** Reads up to the start mark; gives its number and what followed already. Undefined when the output ended before. */
export async function readMark(
  output: AsyncIterator<Buffer>,
  nonce: string,
  label: string,
): Promise<{ number: number; rest: Buffer } | undefined> {
  let seen: Buffer = Buffer.alloc(0)
  for (;;) {
    const next = await output.next()
    if (next.done === true) return undefined
    seen = seen.length === 0 ? next.value : Buffer.concat([seen, next.value])
    const at = seen.indexOf(`${nonce}:`)
    const end = at === -1 ? -1 : seen.indexOf(';', at)
    if (end !== -1) {
      const digits = seen.toString('latin1', at + nonce.length + 1, end)
      if (!/^[1-9]\d{0,9}$/.test(digits)) throw badStart(label)
      return { number: Number(digits), rest: seen.subarray(end + 1) }
    }
    if (seen.length > noiseBytesMax) throw badStart(label)
  }
}

export function badStart(label: string): VmlError {
  return new VmlError(
    'remote.protocol',
    `Cannot run a program on ${label}: its login shell prints something else`,
    {
      hint: 'See what its start-up files print when no terminal is there',
    },
  )
}
