// `vml demo`: hands work over from one virtual machine to another and has other programs check it. main.ts [--keep DIR]
import { readdirSync, rmSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import type { Stage } from './computer.ts'
import { play, removeLeftGuest } from './play.ts'
import { renderReport } from './report.ts'
import { leftoverFolders } from '../../test/leftover-folders.ts'

const folderPrefix = 'vml-demo-'
const keptNames = ['logbook', 'password', 'report.json']

process.exitCode = await main(process.argv.slice(2))

async function main(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({ args: [...argv], options: { keep: { type: 'string' } } })
  const abort = new AbortController()
  // One is enough, however often it comes: all that runs is then ended and removed.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => abort.abort(new Error('cancelled')))
  const print = (line = '') => console.log(line)
  const stage: Stage = { print, signal: abort.signal }
  const resources = new AsyncDisposableStack()
  let status = 1
  try {
    const kept = values.keep === undefined ? undefined : await keepIn(resolve(values.keep))
    const work = await makeWorkFolder(stage)
    resources.defer(async () => await rm(work, { recursive: true, force: true }))
    const report = await play(stage, { work, keep: kept ?? work }, resources)
    print()
    for (const line of renderReport(report)) print(line)
    if (kept !== undefined) {
      await writeFile(join(kept, 'report.json'), `${JSON.stringify(report, null, 2)}\n`)
      print(`\n  Kept in ${kept}: ${keptNames.join(', ')}`)
    }
    status = report.passed ? 0 : 1
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    print(
      abort.signal.aborted ? '\nCancelled; what was started is being removed' : `\nThe demo failed: ${why}`,
    )
    status = abort.signal.aborted ? 130 : 1
  }
  try {
    await resources.disposeAsync()
  } catch (error) {
    print(
      `What the demo started could not be removed: ${error instanceof Error ? error.message : String(error)}`,
    )
    status ||= 1
  }
  // A build that was given up has nothing to say any more.
  process.exit(status)
}

/** An existing logbook is nobody's to write over. */
async function keepIn(folder: string): Promise<string> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const taken = readdirSync(folder).find((name) => keptNames.includes(name))
  if (taken !== undefined) throw new Error(`Cannot keep anything in ${folder}: it has a ${taken} already`)
  return folder
}

/** The process that made it is in its name: what a killed one left behind is removed by the next. */
async function makeWorkFolder(stage: Stage): Promise<string> {
  for (const left of leftoverFolders(folderPrefix)) {
    await removeLeftGuest(stage, left).catch(() => {})
    rmSync(left, { recursive: true, force: true })
  }
  return await mkdtemp(join(tmpdir(), `${folderPrefix}${process.pid}-`))
}
