// Cuts a byte stream from a machine at delimiters, in bounded memory whatever the machine sends.
import { rawFromBytes, type RawText } from '../base/raw-text.ts'

export interface DelimitedReader {
  /**
   * The text before the next `delimiter` (ASCII), which is consumed; undefined at the end of the stream when nothing
   * is left. Text without a delimiter at the end of the stream is `cut`; more than `bytesMax` without one is `long`.
   */
  until(delimiter: string, bytesMax: number): Promise<RawText | undefined>
}

/** The stream is not what was agreed. The caller says so in its own words. */
export class DelimiterError extends Error {
  readonly why: 'cut' | 'long'

  constructor(why: 'cut' | 'long') {
    super(why === 'cut' ? 'the answer was cut off' : 'a part of the answer is longer than anything real')
    this.why = why
  }
}

export function readDelimited(stream: AsyncIterable<Uint8Array>): DelimitedReader {
  const chunks = stream[Symbol.asyncIterator]()
  let text = ''
  let position = 0
  return {
    async until(delimiter, bytesMax) {
      let searchFrom = position
      for (;;) {
        const found = text.indexOf(delimiter, searchFrom)
        if (found >= 0 && found - position > bytesMax) throw new DelimiterError('long')
        if (found >= 0) {
          const part = text.slice(position, found) as RawText
          position = found + delimiter.length
          return part
        }
        if (text.length - position > bytesMax) throw new DelimiterError('long')
        const pending = text.length - position
        const chunk = await chunks.next()
        if (chunk.done === true) {
          if (pending === 0) return undefined
          throw new DelimiterError('cut')
        }
        text = text.slice(position) + rawFromBytes(chunk.value)
        position = 0
        searchFrom = Math.max(0, pending - delimiter.length + 1)
      }
    },
  }
}
