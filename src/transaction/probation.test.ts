import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { patientClock } from '../../test/patient-clock.ts'
import { silentReporter } from '../base/progress.ts'
import { rawFromString } from '../base/raw-text.ts'
import type { EntryId } from '../model/ids.ts'
import { parseRawPath, rootPath } from '../model/raw-path.ts'
import { workerOf } from './at-work.ts'
import { isAbandoned, numbersOnProbation, readProbation } from './probation-note.ts'
import { type Hindrance, noteAskedProbation, runProbation } from './probation.ts'
import type { StageNote } from './stage-note.ts'
import type { Workplace } from './workplace.ts'

const locked: Hindrance = { why: 'another one is open', passes: 'by itself' }

async function watch(hindrances: readonly Hindrance[], waits: boolean) {
  const folder = mkdtempSync(join(tmpdir(), 'vml-probation-'))
  try {
    const clock = patientClock()
    const warnings: string[] = []
    const reporter = {
      ...silentReporter,
      warn: ({ warning }: { readonly warning: string }) => void warnings.push(warning),
    }
    const place = {
      state: parseRawPath(rawFromString(folder)) ?? rootPath,
      clock,
      reporter,
    } as unknown as Workplace
    const asked = { withinMs: 5000, confirm: true }
    const transaction = 'a'.repeat(64) as EntryId
    const noted = { probation: asked, process: workerOf(process.pid) } as unknown as StageNote
    await noteAskedProbation(place, noted, { number: 7, transaction })
    const left = [...hindrances]
    const end = await runProbation(
      {
        place,
        waits,
        withLock: async (work) => await work(),
        forgetAsked: () => Promise.resolve(),
        takeBack: async () => await Promise.resolve(left.shift()),
      },
      7,
    )
    const note = readProbation(place, 7)
    return {
      end,
      warnings,
      note,
      isWatched: note && !isAbandoned(place, note),
      numbers: numbersOnProbation(place),
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test('what is to be taken back while another transaction is open is taken back as soon as that has ended', async () => {
  const { end, warnings, numbers } = await watch([locked, locked, locked], true)
  assert.deepEqual(end, { kind: 'undone', reason: 'Nobody confirmed it in time' })
  assert.equal(warnings.length, 1)
  assert.match(warnings[0] ?? '', /^#7 is to be taken back .* another one is open$/)
  assert.deepEqual(numbers, [])
})

test('who does not wait for that leaves it to whoever comes next, with the reason', async () => {
  const { end, note, isWatched } = await watch([locked], false)
  assert.equal(end.kind, 'later')
  assert.equal(note?.reason, 'Nobody confirmed it in time')
  assert.deepEqual([note?.gaveUp, isWatched], [undefined, false])
})

test('what somebody was writing is tried again some times, and no more', async () => {
  const written: Hindrance = { why: 'it has changed meanwhile', passes: 'perhaps' }
  const few = await watch([written, written], true)
  assert.equal(few.end.kind, 'undone')
  const { end, note } = await watch(
    Array.from({ length: 50 }, () => written),
    true,
  )
  assert.equal(end.kind, 'gave up')
  assert.equal(note?.gaveUp, 'it has changed meanwhile')
})

test('what does not pass by itself ends the watch', async () => {
  const { end, note } = await watch([{ why: 'a conflict', passes: 'never' }], true)
  assert.equal(end.kind, 'gave up')
  assert.equal(note?.gaveUp, 'a conflict')
})
