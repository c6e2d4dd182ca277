// What all test files of a run copy and is slow to make: made once, in the folder of that run.
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { mkdtemp, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runFolderVariable } from '../tools/test-processes.ts'

const models = new Map<string, Promise<string>>()

/** The folder with the model. `fill` makes it in `aside`, as it is to lie in `place` afterwards. */
export async function runModel(
  name: string,
  fill: (aside: string, place: string) => Promise<void>,
): Promise<string> {
  const model = models.get(name) ?? makeModel(join(runFolder(), name), fill)
  models.set(name, model)
  return await model
}

async function makeModel(place: string, fill: (aside: string, place: string) => Promise<void>) {
  if (existsSync(place)) return place
  const aside = await mkdtemp(`${place}-`)
  await fill(aside, place)
  // It appears whole. The first one stays; of those made at the same time all are as good.
  await rename(aside, place).catch(() => rm(aside, { recursive: true }))
  return place
}

let ownFolder: string | undefined

/** A test file that runs by itself has a folder of its own. */
function runFolder(): string {
  const shared = process.env[runFolderVariable] ?? ownFolder
  if (shared !== undefined) return shared
  const own = mkdtempSync(join(tmpdir(), 'vml-run-'))
  process.on('exit', () => rmSync(own, { recursive: true, force: true }))
  return (ownFolder = own)
}
