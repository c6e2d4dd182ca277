// A home with a logbook, this host as machine `here` and a work folder in it: what most tests of save and restore start from.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { openTestHome, type RunOptions, type TestHome, type VmlOutcome } from '../cli.ts'
import { resticProgram } from '../restic-peer.ts'
import { sh } from './nasty-tree.ts'

export interface MachineBench extends AsyncDisposable {
  readonly test: TestHome
  /** The home, by its real name. */
  readonly home: string
  /** Beside the home: in no entry. */
  readonly beside: string
  readonly logbook: string
  /** Runs vml and demands this exit status (0 by default). */
  vml(args: readonly string[], options?: BenchOptions): Promise<VmlOutcome>
  /** Runs bash in the home. */
  sh(script: string, ...words: readonly string[]): string
  /** Stock restic says that the logbook is whole, down to every byte. */
  check(): void
  restic(...args: readonly string[]): string
}

export interface BenchOptions extends Omit<RunOptions, 'home'> {
  readonly status?: number
}

export async function openMachineBench(): Promise<MachineBench> {
  const test = await openTestHome()
  const home = await realpath(test.home)
  const vml: MachineBench['vml'] = async (args, { status = 0, ...options } = {}) => {
    const outcome = await test.run(args, options)
    assert.equal(outcome.status, status, `vml ${args.join(' ')}\n${outcome.stdout}${outcome.stderr}`)
    return outcome
  }
  await vml(['machine', 'add', 'here', 'local:'])
  const restic = (...args: readonly string[]) =>
    execFileSync(resticProgram('0.19'), [...args, '--no-cache'], {
      env: { ...process.env, RESTIC_REPOSITORY: test.logbook, RESTIC_PASSWORD_FILE: test.passwordFile },
      stdio: ['ignore', 'pipe', 'pipe'],
    }).toString()
  return {
    test,
    home,
    beside: join(home, '..'),
    logbook: test.logbook,
    vml,
    sh: (script, ...words) => sh(home, script, ...words),
    check: () => void restic('check', '--read-data'),
    restic,
    [Symbol.asyncDispose]: async () => {
      sh(home, 'chattr -R -i . 2>/dev/null || :')
      await test[Symbol.asyncDispose]()
    },
  }
}
