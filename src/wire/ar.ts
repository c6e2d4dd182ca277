// Reads an archive of ar as it comes, in the plain form that .deb files have (deb(5); ar(5), "common" format, short names only).
import { VmlError } from '../base/failure.ts'
import { printableText } from '../base/raw-text.ts'
import { openByteReader } from './byte-reader.ts'

export interface ArMember {
  readonly name: string
  readonly sizeBytes: number
  /** To be read before the next member is asked for; what is not read is skipped. Once only. */
  content(): AsyncGenerator<Buffer, void, undefined>
}

export const arMagic = '!<arch>\n'
const headerBytes = 60

/** `integrity.format` for what is none, `integrity.truncated` where it ends early. `what` is for messages. */
export async function* readAr(
  stream: AsyncIterable<Uint8Array>,
  what: string,
): AsyncGenerator<ArMember, void, undefined> {
  const reader = openByteReader(stream, what)
  const bad = (why: string) => new VmlError('integrity.format', `Cannot read ${what}: ${why}`)
  try {
    const magic = await reader.take(arMagic.length)
    if (magic.toString('latin1') !== arMagic) throw bad('it is no archive of ar')
    for (;;) {
      const header = (await reader.takeOrEnd(headerBytes))?.toString('latin1')
      if (header === undefined) return
      const { name, sizeBytes } = decodeHeader(header, bad)
      let left = sizeBytes
      let state: 'fresh' | 'open' | 'over' = 'fresh'
      yield {
        name,
        sizeBytes,
        async *content() {
          if (state !== 'fresh') throw new TypeError('Cannot read a member twice, or after it is over')
          state = 'open'
          while (left > 0) {
            const bytes = await reader.takeSome(left)
            left -= bytes.length
            yield bytes
          }
        },
      }
      state = 'over'
      await reader.skip(left)
      // The filling byte behind a member of odd size; some programs leave it out behind the last one.
      if (sizeBytes % 2 === 1) await reader.takeOrEnd(1)
    }
  } finally {
    await reader.close()
  }
}

function decodeHeader(header: string, bad: (why: string) => VmlError): { name: string; sizeBytes: number } {
  if (header.slice(58) !== '`\n') throw bad('a header of a member is damaged')
  // GNU ends names with a slash.
  const name = header.slice(0, 16).trimEnd().replace(/\/$/, '')
  const size = header.slice(48, 58).trimEnd()
  if (!/^[!-.0-~]+$/.test(name)) throw bad(`a member is called "${printableText(name)}"`)
  if (!/^\d{1,10}$/.test(size)) throw bad('the size of a member is no number')
  return { name, sizeBytes: Number(size) }
}

/** Of a member written by us; its content follows, and `\n` where the size is odd. */
export function arHeader(name: string, sizeBytes: number): Buffer {
  const fields = [name.padEnd(16), '0'.padEnd(12), '0'.padEnd(6), '0'.padEnd(6), '100644'.padEnd(8)]
  return Buffer.from(`${fields.join('')}${String(sizeBytes).padEnd(10)}\`\n`, 'latin1')
}
