// Marks that an overlay of other programs keeps on what lies in its layers (Docker, podman): the overlay of a stage shows none of them, and keeps its own under the same names.
import { VmlError } from '../base/failure.ts'
import { printable } from '../base/raw-text.ts'
import { baseName, parentPath, type RawPath } from '../model/raw-path.ts'
import type { Fingerprint, PathChange } from '../model/transaction.ts'
import { isOverlayMark, overlayPrefix } from './fingerprint.ts'

/** What of an upper thing is no mark, and the marks of the lower one: a copy of the overlay leaves those behind, the thing itself has them still. */
export function withMarksOf(lower: Fingerprint | undefined, upper: Fingerprint): Fingerprint {
  const marks = lower?.type === upper.type ? marksOf(lower) : []
  const { xattrs = [], ...plain } = withoutMarks(upper)
  const all = [...xattrs, ...marks]
  return all.length === 0 ? plain : { ...plain, xattrs: all }
}

export function withoutMarks(thing: Fingerprint): Fingerprint {
  const { xattrs = [], ...plain } = thing
  const others = xattrs.filter(({ name }) => !isOverlayMark(name))
  return others.length === 0 ? plain : { ...plain, xattrs: others }
}

/** Linux 6.7 and later keep what is set in an overlay as such a mark under a longer name. */
export function hasSetMarks(lower: Fingerprint | undefined, upper: Fingerprint): boolean {
  const known = new Map(marksOf(lower).map(({ name, value }) => [name, value]))
  return marksOf(upper).some(({ name, value }) => {
    const was = known.get(name)
    return (
      name.startsWith(`${overlayPrefix}overlay.`) && (was === undefined || Buffer.compare(was, value) !== 0)
    )
  })
}

/**
 * A change that would take marks from what stays: a thing with marks that gets a new content, and what may have been moved, which is copied where it was a folder.
 * What is only removed is recorded with its marks.
 */
export function losesMarks(changes: readonly PathChange[]): RawPath | undefined {
  const gone: PathChange[] = []
  for (const change of changes) {
    const { path, before, after } = change
    if (!hasMeaningfulMarks(before)) continue
    if (after === undefined) gone.push(change)
    else if (before?.type !== 'dir' || after.type !== 'dir') return path
  }
  if (gone.length === 0) return undefined
  const came = changes.filter(({ before, after }) => before === undefined && after !== undefined)
  const tops = { gone: topsOf(changes.filter(({ after }) => after === undefined)), came: topsOf(came) }
  return gone.find(({ path, before }) =>
    came.some(
      (other) =>
        other.after?.type === before?.type &&
        (baseName(other.path) === baseName(path) || (tops.gone.has(path) && tops.came.has(other.path))),
    ),
  )?.path
}

/** Another run of it would end the same way. */
export function marksWouldBeLost(path: RawPath): VmlError {
  return new VmlError(
    'conflict',
    `Cannot commit "${printable(path)}": it belongs to a layer of another overlay (Docker, podman), and its marks (${overlayPrefix}*) would be lost in a stage`,
    {
      details: { paths: [printable(path)], marks: true },
      hint: 'Nothing was changed. --live does it on the machine itself, where they stay',
    },
  )
}

/** Those that say what a layer shows. The others (overlayfs.rst) only keep numbers of inodes and of names, and may be missing. */
export function hasMeaningfulMarks(thing: Fingerprint | undefined): boolean {
  return marksOf(thing).some(({ name }) => !numberMarks.has(name.slice(overlayPrefix.length)))
}

const numberMarks: ReadonlySet<string> = new Set(['origin', 'impure', 'nlink', 'upper', 'uuid'])

function marksOf(thing: Fingerprint | undefined): NonNullable<Fingerprint['xattrs']> {
  return thing?.xattrs?.filter(({ name }) => isOverlayMark(name)) ?? []
}

function topsOf(changes: readonly PathChange[]): ReadonlySet<RawPath> {
  const all = new Set(changes.map(({ path }) => path))
  return new Set([...all].filter((path) => !all.has(parentPath(path))))
}
