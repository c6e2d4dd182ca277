// Started by a test, as VML is by the hooks: makes the calls in a folder again, and ends with their status.
import { readKeptCalls } from './hook-calls.ts'
import { redoCalls } from './redo-calls.ts'

const [, , stage = '', dpkg = ''] = process.argv
process.exitCode = await redoCalls({ stage, dpkg, calls: await readKeptCalls(stage) })
