// What paths of a machine over ssh are, whole: attributes, extended attributes, and the SHA-256 that the machine computes of files.
import { VmlError } from '../base/failure.ts'
import { printable } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { Fingerprint } from '../model/transaction.ts'
import type { Attributes, Xattr } from '../model/tree.ts'
import { overlayPrefix } from '../stage/fingerprint.ts'
import { readRemoteXattrs, type RemoteMachine, statusesOf } from './remote-machine.ts'

export interface RemoteThing {
  /** Without an overlay's own marks, as any fingerprint. */
  readonly state: Fingerprint
  /** What an overlay noted on it for itself. */
  readonly marks: readonly Xattr[]
}

/** Those of the paths that are there. `sums` has hashes that are known already: such files are not read. */
export async function remoteThings(
  machine: RemoteMachine,
  paths: readonly RawPath[],
  sums: (path: RawPath, now: Attributes) => string | undefined = () => undefined,
): Promise<Map<RawPath, RemoteThing>> {
  const there = await statusesOf(machine, [...new Set(paths)])
  const attributes = await readRemoteXattrs(machine, there)
  const hashes = new Map<RawPath, string>()
  const unknown: RawPath[] = []
  for (const [path, now] of there) {
    if (now.type !== 'file') continue
    const known = sums(path, now)
    if (known === undefined) unknown.push(path)
    else hashes.set(path, known)
  }
  for await (const { path, sha256 } of machine.source.digest(unknown, machine.signal))
    if (sha256 !== undefined) hashes.set(path, sha256)
  const found = new Map<RawPath, RemoteThing>()
  for (const [path, now] of there) {
    const { xattrs = [], device } = attributes.get(path) ?? {}
    const own = xattrs.filter(({ name }) => !name.startsWith(overlayPrefix))
    const sha256 = hashes.get(path)
    if (now.type === 'file' && sha256 === undefined)
      throw new VmlError(
        'conflict',
        `Cannot read "${printable(path)}" on ${machine.name}: it went away, or cannot be read`,
        {
          hint: 'Nothing was changed. Repeat it',
        },
      )
    found.set(path, {
      state: {
        ...plainOf(now),
        ...(now.type === 'chardev' || now.type === 'dev' ? { device: device ?? 0n } : {}),
        ...(sha256 === undefined ? {} : { sha256 }),
        ...(own.length === 0 ? {} : { xattrs: own }),
      },
      marks: xattrs.filter(({ name }) => name.startsWith(overlayPrefix)),
    })
  }
  return found
}

export async function remoteFingerprints(
  machine: RemoteMachine,
  paths: readonly RawPath[],
  sums?: (path: RawPath, now: Attributes) => string | undefined,
): Promise<Map<RawPath, Fingerprint>> {
  const things = await remoteThings(machine, paths, sums)
  return new Map([...things].map(([path, { state }]) => [path, state]))
}

/** Names of owners and times of access are no part of what a path is. */
function plainOf(now: Attributes): Attributes {
  const { user: _user, group: _group, atimeNs: _atime, ...rest } = now
  return rest
}
