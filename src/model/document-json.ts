// The bytes of a document under `/.vml/` as JSON. They are untrusted input.
import { VmlError } from '../base/failure.ts'
import { isDenseJson } from '../base/json-density.ts'

/** About a million paths of usual length: what a save left out, what a safety entry holds. JavaScript's longest text is twice that. */
export const documentBytesMax = 256 * 1024 * 1024

export function parseDocumentJson(name: string, bytes: Uint8Array): unknown {
  if (bytes.length > documentBytesMax)
    throw new VmlError('integrity.format', `Cannot read /.vml/${name}: it is larger than 256 MiB`)
  if (isDenseJson(bytes))
    throw new VmlError('integrity.format', `Cannot read /.vml/${name}: it names nothing many times over`)
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    throw new VmlError('integrity.format', `Cannot read /.vml/${name}: it is not JSON`, { cause })
  }
}
