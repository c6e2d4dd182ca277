import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { testBackend } from '../../test/conformance/backend.ts'
import { openFaulty } from '../../test/faulty-backend.ts'
import { patientClock } from '../../test/patient-clock.ts'
import { silentReporter } from '../base/progress.ts'
import { openCached } from './cached.ts'
import { openConfirmed } from './confirmed.ts'
import { openFresh } from './fresh.ts'
import { openLocal } from './local.ts'
import { openMemory } from './memory.ts'
import { openRetrying } from './retrying.ts'
import { openThrottled } from './throttled.ts'

// As app/storage.ts puts them together for what lies on another computer.
testBackend(
  'all wrappers over a folder',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'vml-wrapped-'))
    return {
      open: () => {
        const clock = patientClock()
        const throttled = openThrottled(openLocal(join(folder, 'repository')), {
          uploadBytesPerSecond: 1_000_000,
          downloadBytesPerSecond: 1_000_000,
          clock,
        })
        const retrying = openRetrying(openConfirmed(throttled), {
          clock,
          random: () => 0.5,
          reporter: silentReporter,
        })
        const cached = openCached(retrying)
        cached.keepCopies({ folder: join(folder, 'copies'), bytesMax: 1_000_000 })
        return openFresh(cached)
      },
      async [Symbol.asyncDispose]() {
        rmSync(folder, { recursive: true, force: true })
      },
    }
  },
  { reachable: false },
)

test('a write that was taken and is not there, or half there, is a failure that a retry can help', async () => {
  const data = Buffer.from('content')
  const file = { kind: 'pack', name: hash('sha256', data) } as const
  for (const lie of ['lost-write', 'lying-write'] as const) {
    const once = () => openFaulty(openMemory(), ({ number }) => (number === 1 ? lie : undefined))
    await assert.rejects(openConfirmed(once()).put(file, data), { code: 'unavailable.network' })
    const options = { clock: patientClock(), random: () => 0.5, reporter: silentReporter }
    const backend = openRetrying(openConfirmed(once()), options)
    await backend.put(file, data)
    assert.deepEqual(await backend.get(file), data)
  }
})
