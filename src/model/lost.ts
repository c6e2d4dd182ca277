// `/.vml/lost.json` of an entry that was repaired: what damage took from it (docs/format.md). Untrusted input.
import { VmlError } from '../base/failure.ts'
import { isDenseJson } from '../base/json-density.ts'
import { printableText } from '../base/raw-text.ts'
import { documentBytesMax } from './document-json.ts'
import { base64Path, listMax, printedPath } from './document-fields.ts'
import { type Check, count, isMisfit, listOf, objectOf, oneOf, optional, textOf } from './field-check.ts'

export interface LostPath {
  /** printable() form of the path. */
  readonly path: string
  /** The path's bytes, base64. */
  readonly raw: string
  /** A `folder` went with everything below it, of which nothing is known any more. */
  readonly type: 'file' | 'folder'
  /** Bytes that the file had. */
  readonly size?: number
  /** Name of a file in `/.vml/lost/` with what is left of it, zeros where it is not. */
  readonly rest?: string
  /** Where those zeros are. */
  readonly missing?: readonly { readonly offset: number; readonly length: number }[]
}

const lostCheck: Check<{ schema: 1; lost: readonly LostPath[] }> = objectOf({
  schema: oneOf(1),
  lost: listOf(
    objectOf({
      path: printedPath,
      raw: base64Path,
      type: oneOf('file', 'folder'),
      size: optional(count),
      rest: optional(textOf({ pattern: /^\d{1,10}$/ })),
      missing: optional(listOf(objectOf({ offset: count, length: count }), listMax)),
    }),
    listMax,
  ),
})

export function encodeLost(lost: readonly LostPath[]): Buffer {
  return Buffer.from(`${JSON.stringify({ schema: 1, lost }, undefined, 2)}\n`)
}

/** `integrity.format` for anything else. */
export function parseLost(bytes: Uint8Array): readonly LostPath[] {
  if (bytes.length > documentBytesMax || isDenseJson(bytes))
    throw new VmlError('integrity.format', 'Cannot read /.vml/lost.json: it is too large')
  const result = lostCheck(parseJson(bytes))
  if (!isMisfit(result)) return result.lost
  throw new VmlError('integrity.format', 'Cannot read /.vml/lost.json: it is not as it must be', {
    details: { field: printableText(result.path.join('.')).slice(0, 200), problem: result.problem },
  })
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    throw new VmlError('integrity.format', 'Cannot read /.vml/lost.json: it is not JSON', { cause })
  }
}
