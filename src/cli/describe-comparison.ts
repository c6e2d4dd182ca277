// A comparison as JSON. Paths are printable text, and their bytes in base64.
import { printable, type RawText } from '../base/raw-text.ts'
import type { Comparison, FileChange, FileState } from '../model/compare.ts'

export function describeComparison(
  comparison: Comparison,
  texts: ReadonlyMap<FileChange, readonly string[]>,
) {
  const { left, right, identical, facts, packages, environment, totals, notCompared } = comparison
  const describe = (change: FileChange) => describeChange(change, texts.get(change))
  return {
    schema: 1,
    left,
    right,
    // A script takes this for "equal": what was not compared is not.
    identical: identical && notCompared.length === 0,
    totals,
    facts,
    packages: packages ?? null,
    configuration: comparison.configuration.map(describe),
    environment:
      environment?.map((change) => ({
        kind: change.kind,
        name: printable(change.name),
        left: textOf(change.left),
        right: textOf(change.right),
      })) ?? null,
    files: comparison.files.map(describe),
    not_compared: notCompared.map(({ path, side, reason }) => ({ ...pathOf(path), side, reason })),
  }
}

function describeChange(change: FileChange, text: readonly string[] | undefined) {
  return {
    mark: change.mark,
    ...pathOf(change.path),
    ...(change.from === undefined ? {} : { from: pathOf(change.from) }),
    attributes: change.attributes,
    left: describeState(change.left),
    right: describeState(change.right),
    ...(change.below === undefined ? {} : { below: change.below }),
    ...(text === undefined ? {} : { text }),
  }
}

function describeState(state: FileState | undefined) {
  if (!state) return null
  return {
    type: state.type,
    mode: state.mode,
    uid: state.uid,
    gid: state.gid,
    user: textOf(state.user),
    group: textOf(state.group),
    size: state.size ?? null,
    mtime_ns: String(state.mtimeNs),
    link_target: textOf(state.linkTarget),
  }
}

function pathOf(path: RawText) {
  return { path: printable(path), raw: Buffer.from(path, 'latin1').toString('base64') }
}

function textOf(text: RawText | undefined): string | null {
  return text === undefined ? null : printable(text)
}
