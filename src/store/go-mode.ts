// The mode of a node as Go's os.FileMode, which restic writes as a number: not the bits that stat(2) gives.
import type { NodeType } from '../model/tree.ts'

const typeBits: Readonly<Record<NodeType, number>> = {
  file: 0,
  dir: 2 ** 31,
  symlink: 2 ** 27,
  dev: 2 ** 26,
  chardev: 2 ** 26 + 2 ** 21,
  fifo: 2 ** 25,
  socket: 2 ** 24,
  irregular: 2 ** 19,
}
const setuidBit = 2 ** 23
const setgidBit = 2 ** 22
const stickyBit = 2 ** 20

export function toGoMode({ type, mode }: { readonly type: NodeType; readonly mode: number }): number {
  if (!Number.isInteger(mode) || mode < 0 || mode > 0o7777) throw new Error('A mode has twelve bits')
  return (
    typeBits[type] +
    (mode & 0o777) +
    (mode & 0o4000 ? setuidBit : 0) +
    (mode & 0o2000 ? setgidBit : 0) +
    (mode & 0o1000 ? stickyBit : 0)
  )
}

/** Permission bits with setuid, setgid and sticky; the type stands in a field of its own. */
export function fromGoMode(goMode: number): number {
  return (
    (goMode & 0o777) +
    (goMode & setuidBit ? 0o4000 : 0) +
    (goMode & setgidBit ? 0o2000 : 0) +
    (goMode & stickyBit ? 0o1000 : 0)
  )
}

export function parseNodeType(text: string): NodeType {
  return Object.hasOwn(typeBits, text) ? (text as NodeType) : 'irregular'
}
