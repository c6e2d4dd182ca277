// An entry as every command's JSON gives it. Fields are only ever added.
import type { LoggedEntry } from '../engine/entries.ts'

export function describeEntry(entry: LoggedEntry) {
  return {
    id: entry.id,
    snapshot: entry.snapshot.id,
    number: entry.number ?? null,
    machine: entry.machine,
    kind: entry.kind,
    project: entry.project ?? null,
    tags: entry.tags,
    title: entry.title,
    note: entry.note,
    time: entry.snapshot.time,
    ...(entry.facts
      ? {
          mode: entry.facts.mode,
          outcome: entry.facts.outcome,
          image: entry.facts.image ?? null,
          // As it was saved; `lost` of it cannot be restored.
          statistics: entry.facts.statistics,
          ...(entry.facts.lost ? { lost: entry.facts.lost } : {}),
        }
      : {}),
  }
}
