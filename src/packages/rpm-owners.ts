// Whose a path is on an rpm machine, for many paths at once: from the lists in rpm's database.
import type { RawPath } from '../model/raw-path.ts'
import { openRpmHeader } from '../wire/rpm-header.ts'
import { readListedFiles, type RpmListedFile } from '../wire/rpm-listed-files.ts'
import { rpmName, type RpmEntry } from './rpm-headers.ts'

export interface RpmOwner {
  /** As `rpmName` has it. */
  readonly package: string
  readonly file: RpmListedFile
}

/** Folders and, where packages agree on them, files may have several owners. Paths that nobody owns are not in it. */
export async function rpmOwners(
  entries: AsyncIterable<RpmEntry> | Iterable<RpmEntry>,
  paths: ReadonlySet<RawPath>,
): Promise<ReadonlyMap<RawPath, readonly RpmOwner[]>> {
  const found = new Map<RawPath, RpmOwner[]>()
  for await (const entry of entries) {
    for (const file of readListedFiles(openRpmHeader(entry.header, 'a header of the database'))) {
      if (!paths.has(file.path)) continue
      const owner = { package: rpmName(entry), file }
      const others = found.get(file.path)
      if (others) others.push(owner)
      else found.set(file.path, [owner])
    }
  }
  return found
}
