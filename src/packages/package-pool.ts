// A folder of .deb and .rpm files on this host that somebody keeps: by name, at any depth.
import { opendir } from 'node:fs/promises'
import { systemErrorCode, VmlError } from '../base/failure.ts'
import { printable, rawToBytes } from '../base/raw-text.ts'
import { isRawName, joinPath, type RawPath } from '../model/raw-path.ts'
import { packageFormatOf } from './package-files.ts'
import type { WantedPackage } from './package-sources.ts'

/** Debian's own pool of one architecture has 65,000. */
const filesMax = 1_000_000
/** `pool/updates/main/libf/libfoo/` is five deep. */
const depthMax = 16

/** Files by their names. Links are not followed: a pool that leads elsewhere is not one that keeps. Empty where there is no such folder. */
export async function listPool(folder: RawPath): Promise<ReadonlyMap<string, readonly RawPath[]>> {
  const files = new Map<string, RawPath[]>()
  let count = 0
  const pending: { path: RawPath; depth: number }[] = [{ path: folder, depth: 0 }]
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { path, depth } = next
    try {
      for await (const entry of await opendir(rawToBytes(path), { encoding: 'latin1' })) {
        if (!isRawName(entry.name)) continue
        const below = joinPath(path, entry.name)
        if (entry.isDirectory() && depth < depthMax) pending.push({ path: below, depth: depth + 1 })
        else if (entry.isFile() && packageFormatOf(entry.name) !== undefined) {
          if (++count > filesMax)
            throw new VmlError(
              'unsupported',
              `Cannot take "${printable(folder)}" for a pool: it has more than ${filesMax} packages`,
            )
          files.set(entry.name, [...(files.get(entry.name) ?? []), below])
        }
      }
    } catch (error) {
      if (systemErrorCode(error) !== 'ENOENT' && systemErrorCode(error) !== 'ENOTDIR') throw error
    }
  }
  return files
}

/**
 * Archives leave the epoch out of names; apt keeps it, with `%3a` for the colon; dpkg-name may have a plain one. Names and versions do not tell a .deb from an
 * .rpm: what is in it does.
 */
export function poolNames({ name, version, architecture }: WantedPackage): string[] {
  const plain = version.replace(/^\d+:/, '')
  const versions = [plain, version.replaceAll(':', '%3a'), version]
  return [
    ...[...new Set(versions)].map((text) => `${name}_${text}_${architecture}.deb`),
    `${name}-${plain}.${architecture}.rpm`,
  ]
}
