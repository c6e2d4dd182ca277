// What a failure of the system is called in words.
import { constants } from 'node:os'

/** `Operation not permitted` for `EPERM`; a code that this system does not know is its own word. */
export function describeSystemError(code: string): string {
  // An import of all that it exports has Node load a dozen modules, at each start.
  const { getSystemErrorMessage } = process.getBuiltinModule('node:util')
  const numbers: Readonly<Record<string, number>> = constants.errno
  const number = numbers[code]
  const words = number === undefined ? code : getSystemErrorMessage(-number)
  return `${words.charAt(0).toUpperCase()}${words.slice(1)}`
}
