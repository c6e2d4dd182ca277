// Machines that `vml open` has started for a test: entered as it says, and removed whatever the test finds out.
import assert from 'node:assert/strict'
import type { TestHome } from './cli.ts'
import { runProgram } from './guest-machine.ts'

/** Whatever a test finds out, no QEMU stays. */
export function removing(home: TestHome, name: string): AsyncDisposable {
  return { [Symbol.asyncDispose]: async () => void (await home.run(['open', '--rm', name, '--yes'])) }
}

export function printedCommand(stdout: string) {
  const line = stdout.split('\n').find((each) => each.startsWith('ssh '))
  assert.ok(line !== undefined, stdout)
  return commandOf(line)
}

/** By the very words that were printed, in a shell; the user's own configuration takes no part in a test. */
export function commandOf(line: string) {
  return async (command: string) =>
    await runProgram('sh', ['-c', `${line.replace(/^ssh /, 'ssh -F none -n ')} "$1"`, 'sh', command])
}
