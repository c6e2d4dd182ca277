// Which system a machine runs, as its own files say: os-release(5), and CernVM's release line.
import { parseImageReference, type ImageReference } from './machine.ts'

const releaseCharactersMax = 64 * 1024
const fieldsMax = 200
const valueCharactersMax = 1024

/** The assignments of an os-release file; lines that are none are passed over, the last of two counts. */
export function parseOsRelease(text: string): Readonly<Record<string, string>> {
  const fields = new Map<string, string>()
  for (const line of text.slice(0, releaseCharactersMax).split('\n')) {
    const match = /^\s*([A-Z][A-Z0-9_]{0,99})=(.*)$/.exec(line)
    const [, key, quoted] = match ?? []
    if (key === undefined || quoted === undefined) continue
    const value = unquote(quoted.trimEnd())
    if (value !== undefined && value.length <= valueCharactersMax && fields.size < fieldsMax)
      fields.set(key, value)
  }
  return Object.fromEntries(fields)
}

/**
 * The image that a machine seems to have been started from: what the image says of itself (`IMAGE_ID`), CernVM's
 * release, else the system and its version. Always a guess, and to be marked as one.
 */
export function guessImage(facts: {
  readonly os?: Readonly<Record<string, string>>
  readonly cernvmRelease?: string
}): ImageReference | undefined {
  const { os = {}, cernvmRelease } = facts
  const cernvm = /\b(\d+(?:\.\d+)*(?:-\d+)?)\b/.exec(cernvmRelease ?? '')?.[1]
  return (
    reference(os['IMAGE_ID'], os['IMAGE_VERSION']) ??
    reference('cernvm', cernvm) ??
    reference(os['ID'], os['VERSION_ID'] ?? os['BUILD_ID'] ?? os['VERSION_CODENAME'])
  )
}

function reference(name: string | undefined, version: string | undefined): ImageReference | undefined {
  return name === undefined || version === undefined ? undefined : parseImageReference(`${name}@${version}`)
}

/** One word as a shell reads it, with the escapes that os-release(5) allows; undefined where a quote stays open. */
function unquote(text: string): string | undefined {
  if (text.startsWith("'")) return /^'([^']*)'$/.exec(text)?.[1]
  if (text.startsWith('"')) return /^"((?:[^"\\]|\\.)*)"$/s.exec(text)?.[1]?.replace(/\\(["$`\\])/g, '$1')
  return /["'\s;]/.test(text) ? undefined : text.replace(/\\(.)/g, '$1')
}
