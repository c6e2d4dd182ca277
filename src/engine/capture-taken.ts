// What both ways of reading do with what they find: problems, other names of a file, folders that were replaced.
import { nearestIn, type RawPath } from '../model/raw-path.ts'
import type { ScanProblem, ScanRecord } from '../source/source.ts'
import { addProblem, forget, type Run } from './capture-run.ts'
import { takeScanned } from './capture-scan.ts'
import { type Row, rootRow } from './listing-row.ts'

/** A folder that cannot be opened keeps what the scan knows of it; what is above the roots is no loss at all. */
export function takeUnread(run: Run, record: ScanProblem): void {
  const { path, problem, message } = record
  const row = run.listing.find(path)
  if (row >= 0 && run.listing.isFolder(row) && problem !== 'vanished') {
    run.files.set(row, {})
    if (!run.above.has(row)) addProblem(run, path, problem, message)
    return
  }
  addProblem(run, path, problem, message)
  forget(run, path)
}

/** Another name of a file that was read. */
export function takeLink(run: Run, row: Row, to: Row): void {
  const { listing, files } = run
  const target = files.get(to)
  if (!target || target.attributes.type !== listing.type(row)) {
    const path = listing.path(row)
    addProblem(run, path, 'unreadable', `The file it is another name of was not read`)
    forget(run, path)
    return
  }
  const { size, linkTarget, device, xattrs, mtimeNs } = target.attributes
  files.set(
    row,
    {
      mtimeNs,
      ...(size === undefined ? {} : { size }),
      ...(linkTarget === undefined ? {} : { linkTarget }),
      ...(device === undefined ? {} : { device }),
      ...(xattrs === undefined ? {} : { xattrs }),
    },
    target.content,
  )
}

/** What paths are by now. What is gone meanwhile, or cannot be looked at any more, is forgotten, and the entry says so. */
export async function* lookAgain(
  run: Run,
  paths: readonly RawPath[],
): AsyncGenerator<Extract<ScanRecord, { kind: 'item' }>> {
  if (paths.length === 0) return
  for await (const record of run.request.source.stat(paths, run.request.signal)) {
    if (record.kind === 'item') yield record
    if (record.kind !== 'problem') continue
    takeScanned(run, record)
    forget(run, record.path)
  }
}

/** Where a folder on the way became something else meanwhile, what was read below it may be the file of a stranger. */
export async function dropBehindLinks(run: Run, read: readonly Row[]): Promise<readonly Row[]> {
  const { listing, request } = run
  const folders = new Set<Row>()
  for (const row of read)
    for (let at = listing.parent(row); at !== rootRow && !folders.has(at); at = listing.parent(at))
      if (listing.isKnown(at)) folders.add(at)
  if (folders.size === 0) return read
  const replaced = new Set<RawPath>()
  const paths = [...folders].map((row) => listing.path(row))
  for await (const record of request.source.stat(paths, request.signal))
    if (record.kind === 'item' && record.attributes.type !== 'dir') replaced.add(record.path)
  if (replaced.size === 0) return read
  return read.filter((row) => {
    const path = listing.path(row)
    if (nearestIn(path, replaced) === undefined) return true
    addProblem(run, path, 'unreadable', 'A folder that it lies in was replaced while it was read')
    forget(run, path)
    return false
  })
}
