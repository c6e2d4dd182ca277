// What mended a commit when the machine started has written down in the open stage.
import { printableText } from '../base/raw-text.ts'
import { readIfThere } from './open-stage.ts'
import { openFolder, pathIn, type Workplace } from './workplace.ts'

export const bootLogFile = 'at-boot'

/** A line for each thing it says; a step that fails is one, and no more are tried. */
const bytesMax = 64 * 1024

/** Undefined where nothing was mended so. */
export function readBootLog(place: Workplace): Buffer | undefined {
  return readIfThere(pathIn(openFolder(place), bootLogFile))?.subarray(0, bytesMax)
}

export function describeBootLog(log: Buffer): string {
  const lines = log.toString('utf8').trim().split('\n')
  return `When the machine started: ${printableText(lines.join('; '))}`
}
