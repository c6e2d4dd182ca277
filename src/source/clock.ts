// The machine's own clock, which its files' times are compared with.
import type { Shell } from '../wire/shell.ts'
import { protocolFailure, runScript } from './guest-script.ts'
import type { Tools } from './probe.ts'

/** Nanoseconds since the epoch; where the machine tells only seconds, the beginning of the second. */
export async function readClock(shell: Shell, tools: Tools, signal?: AbortSignal): Promise<bigint> {
  const stdout = await runScript(shell, {
    script: tools.dateNs ? 'date +%s%N' : 'date +%s',
    doing: 'read the clock',
    outputBytesMax: 1024,
    signal,
  })
  const text = stdout.toString('latin1').trim()
  if (!/^\d{1,20}$/.test(text)) throw protocolFailure(shell, 'its clock tells no time')
  return tools.dateNs ? BigInt(text) : BigInt(text) * 1_000_000_000n
}
