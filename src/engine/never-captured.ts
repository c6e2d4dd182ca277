// What is never captured, whatever is included (design, "Keys"): VML's own files, an open logbook, a guest's `/.vml`.
import { type RawPath } from '../model/raw-path.ts'
import type { ExclusionRules } from './exclusion.ts'

/** Below the home of any machine: VML may run there too, with keys of its own. */
const ownFolders = ['.local/share/vml', '.local/state/vml', '.cache/vml']

export interface OwnPath {
  readonly path: RawPath
  /** In words: `this computer's key`, `the open logbook`. */
  readonly what: string
}

/** `ownPaths` are this computer's, given where the machine is this computer itself. */
export function neverCaptured(home: RawPath, ownPaths: readonly OwnPath[]): ExclusionRules['never'] {
  const rules = new Map<RawPath, string>([['/.vml' as RawPath, "never captured: VML's own documents"]])
  for (const folder of ownFolders) {
    rules.set(
      (home === '/' ? `/${folder}` : `${home}/${folder}`) as RawPath,
      "never captured: VML's own files",
    )
  }
  for (const { path, what } of ownPaths) rules.set(path, `never captured: ${what}`)
  return [...rules].map(([path, rule]) => ({ path, rule }))
}
