// What a put finds where it wants to write: nothing, the same file, the torso of an earlier try, or something else.
import { createHash } from 'node:crypto'
import { isFailure, VmlError } from '../base/failure.ts'
import type { CallOptions, FileRef } from './backend.ts'
import { fileLabel } from './repository-path.ts'

export interface PresentFileReader {
  readonly location: string
  size(file: FileRef, options?: CallOptions): Promise<number | undefined>
  get(file: FileRef, range?: undefined, options?: CallOptions): Promise<Buffer>
}

/**
 * `absent`, `same`, or `torso`: a part of this very file, as a storage without all-or-nothing keeps it of a put whose
 * connection broke. Only that may be replaced, and only where the name vouches for `data`. Anything else fails with
 * `exists`.
 */
export async function lookForPut(
  reader: PresentFileReader,
  file: FileRef,
  data: Uint8Array,
  options: CallOptions = {},
): Promise<'absent' | 'same' | 'torso'> {
  const size = await reader.size(file, options)
  if (size === undefined) return 'absent'
  if (size <= data.length) {
    const present = await reader.get(file, undefined, options).catch((error: unknown) => {
      // Removed since, or a server that believes its own memory more than its disk.
      if (isFailure(error, 'not-found')) return undefined
      throw error
    })
    if (present === undefined) return 'absent'
    if (present.equals(data)) return 'same'
    if (
      present.length < data.length &&
      isNamedFor(file, data) &&
      present.equals(data.subarray(0, present.length))
    )
      return 'torso'
  }
  throw otherContent(reader.location, file)
}

export function otherContent(location: string, file: FileRef): VmlError {
  return new VmlError('exists', `Cannot write ${fileLabel(file)} in "${location}": other content is there`, {
    details: { location, file: fileLabel(file) },
  })
}

/** All but `config` bear the SHA-256 of what they hold. */
function isNamedFor({ kind, name }: FileRef, data: Uint8Array): boolean {
  return kind !== 'config' && createHash('sha256').update(data).digest('hex') === name
}
