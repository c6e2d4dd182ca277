// Where the process starts: turns the compile cache on, then runs main.ts. Plain JavaScript, because Node needs 40 ms
// to strip the types of a first TypeScript file that no cache can hold yet. The folder is that of app/config.ts.
/* oxlint-disable -- the linter sees types in TypeScript files only */
import { existsSync } from 'node:fs'
import { enableCompileCache, registerHooks } from 'node:module'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'

// A umask that takes its owner's own rights would make files of a logbook that nobody can read: those rights stay.
process.umask(process.umask(0o077) & 0o077)

const { XDG_CACHE_HOME, HOME } = process.env
const home = HOME || homedir()
// A service may have / for a home, or one that is not there and never to be made: nothing is kept then.
const isHome = home !== '/' && existsSync(home)
const cache = XDG_CACHE_HOME?.startsWith('/') ? XDG_CACHE_HOME : isHome ? join(home, '.cache') : undefined
// Where the folder cannot be written Node goes on without it.
if (cache !== undefined) enableCompileCache(join(cache, 'vml', 'code'))

// VML's own files lie where they are named: Node would look each up, with the links and the package of its folder, which is
// a twelfth of the CPU time of a short command.
registerHooks({
  resolve: (specifier, context, next) =>
    specifier.startsWith('.') && specifier.endsWith('.ts')
      ? { url: new URL(specifier, context.parentURL).href, format: 'module-typescript', shortCircuit: true }
      : next(specifier, context),
})

// Without it V8 looks through its whole heap again after every 64 MiB of file content that passes by: a quarter of the
// CPU time of a save of 75,000 files (docs/performance.md). What it may let pile up is a tenth of what is in use.
setFlagsFromString('--external-memory-accounted-in-global-limit')
setFlagsFromString('--external-memory-max-growing-factor=1.1')
// A save makes many objects that live briefly; areas of 16 MiB for them are memory and no time saved. This thread has its own
// already; it holds for those that it starts.
setFlagsFromString('--max-semi-space-size=4')

// Where nothing is left that could end a wait Node ends without a word.
process.once('exit', (status) => {
  if (status !== 13) return
  process.exitCode = 70
  const message = 'A defect of VML: it ended before its work was done'
  const hint =
    'What it was asked for is not done. Type it again: what was stored is found again, and vml check looks at the logbook'
  const document = { message_type: 'exit_error', code: 70, failure: 'defect', message, hint }
  const asJson = process.argv.includes('--json')
  process.stderr.write(asJson ? `${JSON.stringify(document)}\n` : `vml: ${message}\n     ${hint}\n`)
})

const { main } = await import('./main.ts')
process.exitCode = await main(process.argv.slice(2))
