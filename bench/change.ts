// Changes a share of the files of a folder by a rule: the same folder and seed give the same changes.
import { closeSync, ftruncateSync, globSync, lstatSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { openNoise, openRandom } from './random.ts'

/** One file in so many, by chance. */
const oneIn = 100
const insertedBytes = 4096

/** Large files are changed in one place, as a database is; small ones are written anew with a line more. */
export function changeFiles(folder: string, seed: number): number {
  const random = openRandom(seed)
  const noise = openNoise(seed)
  const files = globSync('**', { cwd: folder })
    .toSorted()
    .map((name) => join(folder, name))
    .filter((path) => lstatSync(path).isFile())
  const chosen = files.filter(() => random.below(oneIn) === 0)
  // Among few files chance may choose none.
  const changed = chosen.length > 0 ? chosen : files.slice(0, 1)
  for (const path of changed) {
    const file = openSync(path, 'r+')
    try {
      const { size } = lstatSync(path)
      if (size > 1_000_000)
        writeSync(file, noise(insertedBytes), 0, insertedBytes, random.below(size - insertedBytes))
      else {
        const line = Buffer.from(`changed by seed ${seed}: ${random.word()}\n`)
        writeSync(file, line, 0, line.length, size)
        ftruncateSync(file, size + line.length)
      }
    } finally {
      closeSync(file)
    }
  }
  return changed.length
}
