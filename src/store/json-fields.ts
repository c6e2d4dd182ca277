// Takes JSON from the store apart, field by field; every failure is `integrity.format` with the path of the field.
import { VmlError } from '../base/failure.ts'

export type JsonObject = Readonly<Record<string, unknown>>

export function jsonObject(value: unknown, path: string): JsonObject {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as JsonObject
  throw wrong(path, 'an object')
}

/** An absent or null list is an empty one, as Go writes it. */
export function jsonList(value: unknown, path: string): readonly unknown[] {
  if (value === undefined || value === null) return []
  if (Array.isArray(value)) return value
  throw wrong(path, 'a list')
}

export function jsonTexts(value: unknown, path: string): readonly string[] {
  return jsonList(value, path).map((item, index) => jsonText(item, `${path}[${index}]`))
}

export function jsonText(value: unknown, path: string): string {
  if (typeof value === 'string') return value
  throw wrong(path, 'a text')
}

export function jsonOptionalText(value: unknown, path: string): string | undefined {
  return value === undefined || value === null ? undefined : jsonText(value, path)
}

/** A whole number from 0 up to `max`. */
export function jsonCount(value: unknown, path: string, max: number): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= max) return value
  throw wrong(path, `a whole number up to ${max}`)
}

export function jsonBytes(value: unknown, path: string): Buffer {
  const text = jsonText(value, path)
  if (/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return Buffer.from(text, 'base64')
  throw wrong(path, 'base64')
}

export function jsonId<Id extends string>(
  value: unknown,
  path: string,
  parse: (text: string) => Id | undefined,
): Id {
  const id = parse(jsonText(value, path))
  if (id !== undefined) return id
  throw wrong(path, '64 hex digits')
}

function wrong(path: string, expected: string): VmlError {
  return new VmlError('integrity.format', `"${path}" is not ${expected}`, { details: { field: path } })
}
