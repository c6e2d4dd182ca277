import { test } from 'node:test'
import { newTally, runHistory } from '../transaction-history.ts'

test('what is taken back and brought back at random leaves whole packages and complete records', async (context) => {
  const tally = newTally()
  await runHistory({ seed: 1, steps: 5 }, tally)
  context.diagnostic(JSON.stringify(tally))
})
