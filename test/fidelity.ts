// What a file system can tell that leaves nothing open.
import type { Fidelity } from '../src/model/entry.ts'

export const fullFidelity: Fidelity = {
  timeResolutionNs: 1,
  ctime: true,
  inode: true,
  ownerNames: true,
  xattrs: true,
  acls: true,
  sparse: true,
  notes: [],
}
