// Owner, attributes, rights and time of a thing that was just made, from its fingerprint.
import type { RawText } from '../base/raw-text.ts'
import type { Fingerprint } from '../model/transaction.ts'
import { here } from '../wire/libc.ts'
import type { Workplace } from './workplace.ts'

/** At an absolute place, where nobody else can put anything meanwhile. */
export function giveAttributes({ libc }: Pick<Workplace, 'libc'>, place: RawText, wanted: Fingerprint): void {
  libc.chownAt(here, place, { uid: wanted.uid, gid: wanted.gid })
  if (wanted.type === 'file' || wanted.type === 'dir') {
    const file = libc.openAt(here, place, 0)
    try {
      for (const { name, value } of wanted.xattrs ?? []) libc.setXattr(file, name, value)
      // Last: a change of the owner takes the bits of setuid away.
      libc.chmodOf(file, wanted.mode)
    } finally {
      libc.close(file)
    }
  }
  libc.setTimesAt(here, place, { mtimeNs: wanted.mtimeNs })
}
