// Root's shell of a machine: the login is root's, or may become root by sudo without being asked for a password.
import { VmlError } from '../base/failure.ts'
import { runToEnd } from '../wire/collect-output.ts'
import type { Shell } from '../wire/shell.ts'

/** Words that stand before a program so that root runs it; none where the login is root's. Fails with `remote.denied`. */
export async function wordsOfRoot(shell: Shell, name: string): Promise<readonly string[]> {
  const idOf = async (words: readonly string[]) => {
    const { status, stdout } = await shell.run({ argv: [...words, 'id', '-u'] })
    return status === 0 ? stdout.toString('latin1').trim() : ''
  }
  if ((await idOf([])) === '0') return []
  const sudo = ['sudo', '-n', '--']
  if ((await idOf(sudo)) === '0') return sudo
  throw new VmlError(
    'remote.denied',
    `Cannot make transactions on ${name}: the login there is not root's, and sudo asks for a password`,
    {
      hint: `Nothing was changed. Log in as root (vml machine add ${name} ssh://root@HOST), or let the login use sudo without a password`,
    },
  )
}

/** The same shell, in which everything is run as root. It is closed by whoever opened that one. */
export function asRoot(shell: Shell, words: readonly string[]): Shell {
  if (words.length === 0) return shell
  const start: Shell['start'] = async (request) =>
    await shell.start({ ...request, argv: [...words, ...request.argv] })
  return {
    label: shell.label,
    start,
    run: async (request) => await runToEnd(start, shell.label, request),
    [Symbol.asyncDispose]: async () => {},
  }
}
