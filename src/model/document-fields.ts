// Field types that the documents under `/.vml/` share.
import { asRaw, rawFromBytes, rawFromString, rawToUtf8, type RawText } from '../base/raw-text.ts'
import { byName, type Check, isMisfit, misfit, objectOf, suchThat, textOf, convert } from './field-check.ts'
import { parseRawPath, pathBytesMax, type RawPath } from './raw-path.ts'

/** More than a document has room for. */
export const listMax = 4_000_000
export const textCharactersMax = 64 * 1024
const base64Pattern = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

export const text = textOf({ charactersMax: textCharactersMax })
export const sha256 = textOf({ pattern: /^[0-9a-f]{64}$/ })
/** RFC 3339. */
export const time = textOf({
  charactersMax: 64,
  pattern: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/,
})
/** printable() form of a path: each byte may take four characters. */
export const printedPath = textOf({ charactersMax: pathBytesMax * 10 })

export function textsByName(max: number): Check<Readonly<Record<string, string>>> {
  return byName(text, { namesMax: max, nameCharactersMax: 256 })
}

/** A path's bytes in base64, absolute and without `..`: it may come to be written to. */
export const base64Path = suchThat(
  base64Of(pathBytesMax),
  (base64) => pathOf(rawFromBytes(Buffer.from(base64, 'base64'))) !== undefined,
  'no absolute path',
)

export function bytesText(bytesMax: number): Check<RawText> {
  const plain = convert(textOf({ charactersMax: bytesMax }), rawFromString)
  const encoded = convert(objectOf({ raw: base64Of(bytesMax) }), ({ raw }) =>
    rawFromBytes(Buffer.from(raw, 'base64')),
  )
  return (value) => {
    const bytes = typeof value === 'string' ? plain(value) : encoded(value)
    if (isMisfit(bytes)) return misfit(bytes.problem)
    return bytes.length <= bytesMax ? bytes : misfit('too long')
  }
}

export const bytesPath: Check<RawPath> = convert(
  bytesText(pathBytesMax),
  (value) => pathOf(value) ?? misfit('no absolute path'),
)

function base64Of(bytesMax: number): Check<string> {
  return textOf({ charactersMax: Math.ceil(bytesMax / 3) * 4, pattern: base64Pattern })
}

/** Bytes as a JSON field: the text where they are UTF-8, else `{ "raw": base64 }`. */
export function encodeBytes(bytes: RawText): string | { raw: string } {
  return rawToUtf8(bytes) ?? { raw: Buffer.from(bytes, 'latin1').toString('base64') }
}

/** Only a path in its one form: nothing is silently put right. */
function pathOf(bytes: RawText): RawPath | undefined {
  const path = parseRawPath(bytes)
  return path === asRaw(bytes) ? path : undefined
}
