import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { CaptureMode } from '../model/entry.ts'
import type { EntryId, SnapshotId, TreeId } from '../model/ids.ts'
import { importedTag, type LoggedEntry } from './entries.ts'
import { chooseBase } from './save.ts'
import { machineStatuses } from './status.ts'

function entry(number: number, tags: readonly string[], mode: CaptureMode = 'incremental'): LoggedEntry {
  const id = String(number).repeat(64)
  return {
    id: id as EntryId,
    number,
    machine: 'lab',
    kind: 'environment',
    tags: [],
    title: '',
    note: '',
    takenAt: new Date(number * 1000),
    twins: [],
    snapshot: {
      id: id as SnapshotId,
      time: new Date(number * 1000).toISOString(),
      tree: id as TreeId,
      paths: [],
      hostname: 'lab',
      username: 'lab',
      tags,
    },
    facts: {
      kind: 'environment',
      title: '',
      note: '',
      machine: 'lab',
      number,
      mode,
      outcome: 'complete',
      statistics: { files: 0, folders: 0, others: 0, bytes: 0, filesRead: 0, bytesRead: 0 },
    },
  }
}

test("somebody else's entry is no base of a save, whatever its machine is called", () => {
  const own = entry(1, [], 'full')
  const foreign = entry(2, [importedTag], 'full')
  assert.equal(chooseBase([own, foreign], 'lab', 'incremental'), own)
  assert.equal(chooseBase([own, foreign], 'lab', 'differential'), own)
  assert.equal(chooseBase([foreign], 'lab', 'incremental'), undefined)
})

test("somebody else's entry does not make a machine of the same name look saved", () => {
  assert.deepEqual(machineStatuses([entry(2, [importedTag])], new Set(['lab'])), [
    { machine: 'lab', configured: true, entries: 0, safetyEntries: 0, last: undefined },
  ])
})
