// What every refusal owes to whoever reads it: its status, a sentence, what to do next, and nothing that a terminal would obey.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { globSync, lstatSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { VmlOutcome } from '../cli.ts'

export interface Refusal {
  readonly status: number
  /** In what was printed, on either stream. */
  readonly saying: RegExp
  /** Texts that must not be printed. */
  readonly secrets?: readonly string[]
}

/** A line of output is for people: a machine that sends a million bytes must not fill their screen. */
const lineCharactersMax = 2000

export function assertRefused(outcome: VmlOutcome, { status, saying, secrets = [] }: Refusal): void {
  const all = outcome.stdout + outcome.stderr
  assert.equal(outcome.status, status, all)
  assert.match(all, saying)
  assert.match(outcome.stderr, /^vml: [A-Z“"].*$/m)
  // The sentence on what to do next stands below the one on what happened.
  assert.match(outcome.stderr, /^vml: .*\n {5}\S/m)
  assertPrintable(outcome)
  for (const secret of secrets) assert.ok(!all.includes(secret), 'a secret was printed')
}

/** No control character but the end of a line, no line without end, no defect of ours. */
export function assertPrintable({ stdout, stderr }: Pick<VmlOutcome, 'stdout' | 'stderr'>): void {
  for (const text of [stdout, stderr]) {
    assert.doesNotMatch(text, /[[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]--[\n]]/v)
    for (const line of text.split('\n')) assert.ok(line.length <= lineCharactersMax, line.slice(0, 200))
    assert.doesNotMatch(text, /A defect of VML/)
  }
}

/** Names, types, modes and contents of everything below the folders: equal before and after what must change nothing. */
export function digestOf(...folders: readonly string[]): string {
  const hash = createHash('sha256')
  for (const folder of folders) {
    for (const name of globSync('**/*', { cwd: folder }).toSorted()) {
      const path = join(folder, name)
      const info = lstatSync(path)
      hash.update(`${name}\0${info.mode}\0`)
      if (info.isFile()) hash.update(readFileSync(path))
      if (info.isSymbolicLink()) hash.update(readlinkSync(path))
    }
  }
  return hash.digest('hex')
}
