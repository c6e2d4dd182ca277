// The files of a capture that may be programs or libraries: what an entry needs of its machine depends on them alone.
import { createHash } from 'node:crypto'
import type { Run } from './capture-run.ts'
import { mayBeProgram } from './library-needs.ts'
import type { Row } from './listing-row.ts'
import { nodeOf } from './tree-builder.ts'
import { openTreeReader, type WalkedNode } from './tree-reader.ts'

/** Changes when one of them does, comes or goes; 64 hex digits. */
export function programsFingerprint(run: Run): string {
  const hash = createHash('sha256')
  for (const row of programRows(run)) {
    const path = run.listing.path(row)
    hash.update(run.listing.fingerprint(row)).update(`${path.length} ${path}`, 'latin1')
  }
  return hash.digest('hex')
}

/** As the tree has them. */
export async function* programsOf(run: Run): AsyncIterable<WalkedNode> {
  const { base, signal } = run.request
  const reader = base && openTreeReader(base.repository, base.tree, signal)
  for (const row of programRows(run)) {
    const path = run.listing.path(row)
    const file = run.files.get(row)
    const node = file ? nodeOf(run.listing.name(row), file) : await reader?.node(path)
    if (node) yield { path, node }
  }
}

const libraryMark = Buffer.from('.so')

function* programRows({ listing }: Run): Iterable<Row> {
  for (const row of listing.rows()) {
    if (!listing.isKnown(row) || listing.type(row) !== 'file') continue
    const mode = listing.mode(row)
    // Most are neither, and need no name made for them.
    if ((mode & 0o111) === 0 && !listing.nameHolds(row, libraryMark)) continue
    const file = { type: 'file', mode, size: listing.bytes(row), name: listing.name(row) } as const
    if (mayBeProgram(file)) yield row
  }
}
