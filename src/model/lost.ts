// `/.vml/lost.json` of an entry that was repaired: what damage took from it (docs/format.md). Untrusted input. Loads zod: import on use.
import * as z from 'zod'
import { VmlError } from '../base/failure.ts'
import { isDenseJson } from '../base/json-density.ts'
import { base64Path, count, listMax, listOf, printedPath } from './document-fields.ts'

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

const documentBytesMax = 256 * 1024 * 1024

const schema: z.ZodType<{ schema: 1; lost: readonly LostPath[] }> = z.object({
  schema: z.literal(1),
  lost: listOf(
    z.object({
      path: printedPath,
      raw: base64Path,
      type: z.enum(['file', 'folder']),
      size: count.exactOptional(),
      rest: z
        .string()
        .regex(/^\d{1,10}$/)
        .exactOptional(),
      missing: listOf(z.object({ offset: count, length: count }), listMax).exactOptional(),
    }),
    listMax,
  ),
})

export function encodeLost(lost: readonly LostPath[]): Buffer {
  return Buffer.from(`${JSON.stringify({ schema: 1, lost }, undefined, 2)}\n`)
}

/** `integrity.format` for anything else. */
export function parseLost(bytes: Uint8Array): readonly LostPath[] {
  try {
    if (bytes.length <= documentBytesMax && !isDenseJson(bytes))
      return schema.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))).lost
  } catch (cause) {
    throw new VmlError('integrity.format', 'Cannot read /.vml/lost.json: it is not as it must be', { cause })
  }
  throw new VmlError('integrity.format', 'Cannot read /.vml/lost.json: it is too large')
}
