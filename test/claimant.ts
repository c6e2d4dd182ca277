// A thread that claims every blob it is given, for the tests of the table of blobs.
import { parentPort, workerData } from 'node:worker_threads'
import { openBlobClaims, type SharedBlobTable } from '../src/store/blob-table.ts'

const { shared, ids } = workerData as { readonly shared: SharedBlobTable; readonly ids: readonly string[] }
const { claim } = openBlobClaims(shared)
parentPort?.postMessage(
  ids.filter((id) => claim('data', id)),
  [],
)
