// The files of this computer: listed by its tools as those of any machine, read by this process itself where that loses nothing.
import { openFolderReader } from '../wire/folder-reader.ts'
import { openLibc } from '../wire/libc.ts'
import type { Source } from './source.ts'

const nsPerMs = 1_000_000n

/**
 * Needs what the C library tells (attributes, holes) and a scan as fine as the file system: otherwise `source` is
 * given back as it is, and everything goes through the machine's tools.
 */
export function openLocalSource(source: Source, temporaryFolder: string): Source {
  const { timeResolutionNs, xattrs, sparse } = source.fidelity
  if (timeResolutionNs > 1 || !xattrs || !sparse) return source
  const libc = openLibc(temporaryFolder)
  if (!libc) return source
  const reader = openFolderReader(temporaryFolder)
  return {
    ...source,
    local: { temporaryFolder },
    // Of the beginning of the millisecond: what changes within it is looked at again.
    clockNs: () => Promise.resolve(BigInt(Date.now()) * nsPerMs),
    scan: (request) => source.scan(reader ? { ...request, calls: { libc, reader } } : request),
  }
}
