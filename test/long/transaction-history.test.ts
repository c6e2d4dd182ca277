// 200 random histories of 10 steps: packages come and go, files are edited, transactions are taken back and brought back.
import { test } from 'node:test'
import { newTally, runHistory } from '../transaction-history.ts'

const histories = 200
const steps = 10

test('whatever is taken back and brought back, packages hold together, records stay complete, and an undo of an undo changes nothing', async (context) => {
  const tally = newTally()
  for (let seed = 1; seed <= histories; seed++) await runHistory({ seed, steps }, tally)
  context.diagnostic(JSON.stringify(tally))
})
