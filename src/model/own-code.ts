// VML's own compiled code below a home (src/cli/vml.js): written whenever it runs, made again where it is missing, and nobody's work.
import type { RawPath } from './raw-path.ts'

/** Only where homes are: below any other folder it is somebody's copy. */
const code = /^(?:\/root|\/home\/[^/]+|\/nonexistent|\/var\/lib\/[^/]+)?\/\.cache\/vml\/code(?:\/|$)/

export function isOwnCode(path: RawPath): boolean {
  return code.test(path)
}
