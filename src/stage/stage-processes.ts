// Ends what still runs in a stage that is thrown away: it works on files that will not be.
import type { Clock } from '../base/clock.ts'
import { systemErrorCode } from '../base/failure.ts'
import { processesInStage } from './run-in-stage.ts'

const waitMs = 5000
const pollMs = 50

/** They are asked to end, and killed when they have not. */
export async function endStageProcesses(token: string, clock: Clock): Promise<void> {
  let left = processesInStage(token)
  for (const pid of left) send(pid, 'SIGTERM')
  for (let waited = 0; left.length > 0 && waited < waitMs; waited += pollMs) {
    await clock.sleep(pollMs)
    left = processesInStage(token)
  }
  for (const pid of left) send(pid, 'SIGKILL')
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if (systemErrorCode(error) !== 'ESRCH') throw error
  }
}
