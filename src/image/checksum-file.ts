// Checksum files as publishers put them beside images: SHA256SUMS, SHA512SUMS, `<url>.sha256` (sha256sum(1), both its forms).

export type Checksum =
  | { readonly algorithm: 'sha256'; readonly hex: string }
  | { readonly algorithm: 'sha512'; readonly hex: string }

/** Bytes of a checksum file; Debian's longest has 10 KiB. */
export const checksumFileBytesMax = 4 * 1024 * 1024

/**
 * The checksum of `fileName`, or of the only file when the text is nothing but one checksum. Undefined when it is
 * not there, or there twice with different values.
 */
export function findChecksum(text: string, fileName: string): Checksum | undefined {
  const lines = text.split('\n').flatMap((line) => parseLine(line.trimEnd()) ?? [])
  const named = lines.filter((line) => line.fileName !== undefined && baseName(line.fileName) === fileName)
  const [only] = lines
  const found =
    named.length > 0
      ? named
      : only !== undefined && lines.length === 1 && only.fileName === undefined
        ? [only]
        : []
  const [first] = found
  if (first === undefined || found.some((line) => line.hex !== first.hex)) return undefined
  return toChecksum(first.hex)
}

export function toChecksum(hex: string): Checksum | undefined {
  const lower = hex.toLowerCase()
  if (/^[0-9a-f]{64}$/.test(lower)) return { algorithm: 'sha256', hex: lower }
  return /^[0-9a-f]{128}$/.test(lower) ? { algorithm: 'sha512', hex: lower } : undefined
}

function parseLine(line: string): { hex: string; fileName?: string } | undefined {
  const gnu = /^\\?([0-9a-fA-F]{64}|[0-9a-fA-F]{128})(?: [ *](.+))?$/.exec(line)
  if (gnu?.[1] !== undefined)
    return { hex: gnu[1].toLowerCase(), ...(gnu[2] === undefined ? {} : { fileName: gnu[2] }) }
  const bsd = /^SHA(?:256|512) ?\((.+)\) ?= ?([0-9a-fA-F]{64}|[0-9a-fA-F]{128})$/.exec(line)
  return bsd?.[1] !== undefined && bsd[2] !== undefined
    ? { hex: bsd[2].toLowerCase(), fileName: bsd[1] }
    : undefined
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}
