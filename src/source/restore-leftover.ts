// The names under which a restore holds what is not whole yet.
import type { RawText } from '../base/raw-text.ts'

const pattern = /^\.vml-restore-[0-9a-f]{16}-[0-9a-z-]{1,40}$/

/** `run` is 16 hex digits, the same for all threads of one restore. */
export function leftoverName(run: string, what: string): RawText {
  return `.vml-restore-${run}-${what}` as RawText
}

/** A restore that was cut off may leave it; the next one in that folder takes it away. */
export function isRestoreLeftover(name: string): boolean {
  return pattern.test(name)
}
