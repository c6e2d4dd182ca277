// What a listing in columns tells of one path, as attributes: to compare with what the other ways tell.
import { joinPath, type RawName, type RawPath } from '../model/raw-path.ts'
import type { Attributes } from '../model/tree.ts'
import type { ListedPath } from '../wire/folder-reader.ts'

export function listedIn(folder: RawPath, path: ListedPath): readonly [RawPath, Attributes] {
  const name = path.names.toString('latin1', path.nameStart, path.nameEnd) as RawName
  return [joinPath(folder, name), attributesOf(path)]
}

function attributesOf(path: ListedPath): Attributes {
  const time = (seconds: number, rest: number) => BigInt(seconds) * 1_000_000_000n + BigInt(rest)
  const { type, mode, uid, gid, links, deviceId, linkTarget, size } = path
  return {
    type,
    mode,
    uid,
    gid,
    mtimeNs: time(path.mtimeSeconds, path.mtimeNanoseconds),
    ctimeNs: time(path.ctimeSeconds, path.ctimeNanoseconds),
    inode: (BigInt(path.inodeHigh) << 32n) | BigInt(path.inodeLow),
    deviceId,
    links,
    ...(type === 'file' ? { size } : {}),
    ...(linkTarget === undefined || linkTarget === '' ? {} : { linkTarget }),
  }
}
