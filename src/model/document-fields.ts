// Field types that the documents under `/.vml/` share. Loads zod: import on use.
import * as z from 'zod'
import { asRaw, rawFromBytes, rawFromString, rawToUtf8, type RawText } from '../base/raw-text.ts'
import { parseRawPath, pathBytesMax, type RawPath } from './raw-path.ts'

/** More than a document has room for. */
export const listMax = 4_000_000
const textCharactersMax = 64 * 1024
const base64Pattern = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

export const text = z.string().max(textCharactersMax)
export const count = z.int().nonnegative()
export const sha256 = z.string().regex(/^[0-9a-f]{64}$/)
/** RFC 3339. */
export const time = z
  .string()
  .max(64)
  .regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/)
/** printable() form of a path: each byte may take four characters. */
export const printedPath = z.string().max(pathBytesMax * 10)

/**
 * Stops at the first item that is not as it must be: zod would tell every one of millions, each with half a kilobyte, for a document of
 * two bytes an item.
 */
export function listOf<Item extends z.ZodType>(
  item: Item,
  max: number,
): z.ZodType<readonly z.output<Item>[]> {
  return z
    .array(z.unknown())
    .max(max)
    .transform((values, context) => {
      const items: z.output<Item>[] = []
      for (const [at, value] of values.entries()) {
        const result = item.safeParse(value)
        if (result.success) {
          items.push(result.data)
          continue
        }
        const [issue] = result.error.issues
        context.addIssue({
          code: 'custom',
          message: issue?.message ?? 'not as it must be',
          path: [at, ...(issue?.path ?? [])],
        })
        return z.NEVER
      }
      return items
    })
}

/** Texts by name; stops at the first that is none, as a list does. */
export function textsByName(max: number): z.ZodType<Readonly<Record<string, string>>> {
  return z.record(z.string(), z.unknown()).transform((values, context) => {
    const names = Object.keys(values)
    const wrong = names.find((name) => name.length > 256 || !text.safeParse(values[name]).success)
    if (wrong === undefined && names.length <= max)
      return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, String(value)]))
    context.addIssue({
      code: 'custom',
      message: 'no texts by name',
      path: wrong === undefined ? [] : [wrong],
    })
    return z.NEVER
  })
}

/** A path's bytes in base64, absolute and without `..`: it may come to be written to. */
export const base64Path = z
  .string()
  .max(Math.ceil(pathBytesMax / 3) * 4)
  .regex(base64Pattern)
  .refine((base64) => pathOf(rawFromBytes(Buffer.from(base64, 'base64'))) !== undefined, 'no absolute path')

export function bytesText(bytesMax: number): z.ZodType<RawText> {
  return z
    .union([
      z.string().max(bytesMax).transform(rawFromString),
      z
        .object({
          raw: z
            .string()
            .max(Math.ceil(bytesMax / 3) * 4)
            .regex(base64Pattern),
        })
        .transform(({ raw }) => rawFromBytes(Buffer.from(raw, 'base64'))),
    ])
    .refine((value) => value.length <= bytesMax, 'too long')
}

export const bytesPath: z.ZodType<RawPath> = bytesText(pathBytesMax).transform((value, context) => {
  const path = pathOf(value)
  if (path !== undefined) return path
  context.addIssue('no absolute path')
  return z.NEVER
})

/** Bytes as a JSON field: the text where they are UTF-8, else `{ "raw": base64 }`. */
export function encodeBytes(bytes: RawText): string | { raw: string } {
  return rawToUtf8(bytes) ?? { raw: Buffer.from(bytes, 'latin1').toString('base64') }
}

/** Only a path in its one form: nothing is silently put right. */
function pathOf(bytes: RawText): RawPath | undefined {
  const path = parseRawPath(bytes)
  return path === asRaw(bytes) ? path : undefined
}
