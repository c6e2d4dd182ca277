// What a check found, and what it affects.
import type { BlobId, SnapshotId, TreeId } from '../model/ids.ts'
import type { BlobType, CheckFinding } from './store.ts'

export interface Fault {
  readonly severity: 'damage' | 'notice'
  readonly what: CheckFinding['what']
  readonly id: string
  readonly message: string
}

export interface NewFault {
  readonly severity?: 'damage' | 'notice'
  readonly what: CheckFinding['what']
  readonly id: string
  readonly message: string
}

export interface FaultBook {
  add(fault: NewFault): Fault
  /** Says that a blob cannot be read because of the fault. */
  blame(fault: Fault, type: BlobType, id: BlobId | TreeId): void
  /** The faults that keep a blob from being read; none for one that can be. */
  faultsOf(type: BlobType, id: BlobId | TreeId): readonly Fault[]
  readonly unreadableBlobs: number
  /** Says that a path cannot be read whole. Only the first of many are kept. */
  affect(fault: Fault, snapshot: SnapshotId, path: string): void
  findings(): readonly CheckFinding[]
}

// A report is read by people: more lines than these help nobody.
const findingsMax = 1000
const snapshotsMax = 100
const pathsMax = 20

export function openFaultBook(): FaultBook {
  const faults: Fault[] = []
  const affected = new Map<Fault, Map<SnapshotId, Set<string>>>()
  const blamed = new Map<string, Set<Fault>>()
  let left = 0
  return {
    add({ severity = 'damage', what, id, message }) {
      const fault = { severity, what, id, message }
      if (faults.length < findingsMax) faults.push(fault)
      else left++
      return fault
    },
    blame(fault, type, id) {
      const name = `${type}/${id}`
      blamed.set(name, (blamed.get(name) ?? new Set()).add(fault))
    },
    faultsOf: (type, id) => [...(blamed.get(`${type}/${id}`) ?? [])],
    get unreadableBlobs() {
      return blamed.size
    },
    affect(fault, snapshot, path) {
      const snapshots = affected.get(fault) ?? new Map<SnapshotId, Set<string>>()
      affected.set(fault, snapshots)
      if (snapshots.size >= snapshotsMax && !snapshots.has(snapshot)) return
      const paths = snapshots.get(snapshot) ?? new Set()
      snapshots.set(snapshot, paths)
      if (paths.size < pathsMax) paths.add(path)
    },
    findings() {
      const findings: CheckFinding[] = faults.map((fault) => ({
        ...fault,
        affects: Array.from(affected.get(fault) ?? [], ([snapshot, paths]) => ({
          snapshot,
          paths: [...paths],
        })),
      }))
      if (left > 0) {
        findings.push({
          severity: 'damage',
          what: 'blob',
          id: '',
          message: `${left} more findings are not listed`,
          affects: [],
        })
      }
      return findings
    },
  }
}
