// Whether what lay in a real folder may have been moved into the stage: then its only copy goes with that.
import { readdirSync, readFileSync } from 'node:fs'
import { rawFromBytes, type RawText, rawToBytes } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import { overlaysOf } from '../stage/mount-plan.ts'
import { upperOf } from '../stage/upper-walk.ts'
import { type FileStatus, here } from '../wire/libc.ts'
import { pathOfNote, readStageNote } from './stage-note.ts'
import { openFolder, type Workplace } from './workplace.ts'

/** Of larger ones a copy is taken for granted where the size is the same. */
const comparedBytesMax = 64 * 1024 * 1024
const comparedMax = 100

interface Copy {
  readonly at: RawPath
  readonly mtimeNs: bigint
}

/**
 * Of files by their second names. mv keeps the time, cp does not: then the content tells. Where nobody can tell what the stage has, it may have all of them; where nothing
 * was staged, none.
 */
export function copiesInStage({
  state,
  libc,
}: Pick<Workplace, 'state' | 'libc'>): (held: RawPath, status: FileStatus) => boolean {
  const note = readStageNote(pathOfNote(openFolder({ state })))
  if (note === undefined || note.unread) return () => true
  const { plan } = note
  if (plan === undefined) return () => false
  let bySize: ReadonlyMap<number, readonly Copy[]> | undefined
  let left = comparedMax
  return (held, { size, mtimeNs }) => {
    if (size === 0) return false
    bySize ??= sizesBelow(
      overlaysOf(plan).map((overlay) => upperOf(plan, overlay)),
      libc,
    )
    const copies = bySize.get(size) ?? []
    if (copies.length === 0) return false
    if (size > comparedBytesMax || copies.some((copy) => copy.mtimeNs === mtimeNs)) return true
    const content = readFileSync(rawToBytes(held))
    return copies.some(({ at }) => left-- <= 0 || readFileSync(rawToBytes(at)).equals(content))
  }
}

function sizesBelow(tops: readonly RawPath[], libc: Workplace['libc']): ReadonlyMap<number, readonly Copy[]> {
  const found = new Map<number, Copy[]>()
  const waiting: RawText[] = [...tops]
  for (let folder = waiting.pop(); folder !== undefined; folder = waiting.pop())
    for (const entry of readdirSync(rawToBytes(folder), { withFileTypes: true, encoding: 'buffer' })) {
      const at = `${folder}/${rawFromBytes(entry.name)}` as RawPath
      if (entry.isDirectory()) waiting.push(at)
      else if (entry.isFile()) {
        const { size, mtimeNs } = libc.statAt(here, at)
        const others = found.get(size)
        if (others) others.push({ at, mtimeNs })
        else found.set(size, [{ at, mtimeNs }])
      }
    }
  return found
}
