// The content of a path of the machine, of just the file that was looked at: its owner may lead the name elsewhere between two calls, and root reads all.
import { createHash } from 'node:crypto'
import { constants, readFileSync, readSync } from 'node:fs'
import { VmlError } from '../base/failure.ts'
import { asRaw, printable, type RawText } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { Fingerprint } from '../model/transaction.ts'
import { inHeldFolder } from '../stage/held-folder.ts'
import { inRoot, type Workplace } from './workplace.ts'

type Place = Pick<Workplace, 'root' | 'libc'>

export function hashLive(place: Place, path: RawPath, looked: Fingerprint): string {
  return withLive(place, { path, looked }, (file) => hashOf(file))
}

/** Fails with `conflict` where it is not what was looked at any more. */
export function readLive(place: Place, path: RawPath, looked: Fingerprint): Buffer {
  return withLive(place, { path, looked }, (file) => {
    const bytes = readFileSync(file)
    const { sha256 = '' } = looked
    if (sha256 !== '' && createHash('sha256').update(bytes).digest('hex') !== sha256) throw changed(path)
    return bytes
  })
}

/** `copy` is given a name of the open file, which has this content. */
export function copyLive(
  place: Place,
  { path, sha256 = '' }: { readonly path: RawPath; readonly sha256?: string | undefined },
  copy: (from: RawText) => void,
): void {
  withLive(place, { path, looked: {} }, (file) => {
    if (sha256 !== '' && hashOf(file) !== sha256) throw changed(path)
    copy(asRaw(`/proc/self/fd/${file}`))
  })
}

function withLive<Result>(
  place: Place,
  { path, looked }: { readonly path: RawPath; readonly looked: Pick<Fingerprint, 'inode'> },
  read: (file: number) => Result,
): Result {
  const { libc } = place
  // What has become a pipe must not keep us waiting.
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
  const file = inHeldFolder(libc, inRoot(place, path), (folder, name) => libc.openAt(folder, name, flags))
  try {
    const { inode, mode } = libc.statOf(file)
    if (mode >>> 12 !== regular || (looked.inode !== undefined && looked.inode !== inode)) throw changed(path)
    return read(file)
  } finally {
    libc.close(file)
  }
}

/** S_IFREG of stat(2), without its last twelve bits. */
const regular = 0o10
const readBytes = 1024 * 1024
/** One for all: of many small files each would cost memory of its own. */
const buffer = Buffer.allocUnsafeSlow(readBytes)

function hashOf(file: number): string {
  const hash = createHash('sha256')
  let at = 0
  for (let length = readSync(file, buffer, 0, readBytes, at); length > 0;) {
    hash.update(buffer.subarray(0, length))
    at += length
    length = readSync(file, buffer, 0, readBytes, at)
  }
  return hash.digest('hex')
}

function changed(path: RawPath): VmlError {
  return new VmlError('conflict', `Cannot go on: "${printable(path)}" has changed meanwhile`, {
    hint: 'Nothing was changed. Repeat it',
  })
}
