// Text of any length for a place that has a limit.
import { rawFromString, type RawText, rawToBytes, rawToUtf8, rawFromBytes } from './raw-text.ts'

const cutMark = '…'

/** Whole where it fits; else cut at a character, with … where something is missing. Lengths are of UTF-16, as JavaScript counts. */
export function cutText(text: string, charactersMax: number): string {
  if (text.length <= charactersMax) return text
  const end = charactersMax - cutMark.length
  // Half of a character is none.
  const last = text.charCodeAt(end - 1)
  return `${text.slice(0, last >= 0xd800 && last <= 0xdbff ? end - 1 : end)}${cutMark}`
}

/** The same of bytes: text stays text where it was. */
export function cutRaw(text: RawText, bytesMax: number): RawText {
  if (text.length <= bytesMax) return text
  const bytes = rawToBytes(text)
  const mark = rawToBytes(rawFromString(cutMark))
  let end = bytesMax - mark.length
  // A byte 10xxxxxx goes on with a character that began before it.
  if (rawToUtf8(text) !== undefined) while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--
  return rawFromBytes(Buffer.concat([bytes.subarray(0, end), mark]))
}
