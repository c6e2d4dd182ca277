// The program: argv, signals, streams and exit status around one command.
import { writeSync } from 'node:fs'
import { isatty } from 'node:tty'
import type { Clock } from '../base/clock.ts'
import { systemClock } from '../base/clock.ts'
import { systemErrorCode, VmlError } from '../base/failure.ts'
import type { Reporter } from '../base/progress.ts'
import type { Config } from '../app/config.ts'
import type { Logbook } from '../app/open.ts'
import type { Machine } from '../model/machine.ts'
import type { Shell } from '../wire/shell.ts'
import type { Context } from './command.ts'
import { cancelled, foreseen, outputFailed, reportFailure } from './failures.ts'
import { isTerminalGone } from './hang-up.ts'
import { openOutput, type Output } from './output.ts'
import { firstOperand, type GlobalFlags } from './global-options.ts'
import type { Parsed } from './parse.ts'
import { readPlainLine } from './plain-line.ts'
import { openProgress } from './progress.ts'
import { openPrompts } from './prompts.ts'
import { plainStyle } from './style.ts'

/** As a shell reports a program that a closed pipe ended: 128 + SIGPIPE. */
const brokenPipeStatus = 141

/** A terminal that does not tell its width, such as a serial line. */
const fallbackColumns = 80

/** Runs one command; resolves to the exit status. */
export async function main(argv: readonly string[]): Promise<number> {
  const { stdout, stderr } = process
  const abort = new AbortController()
  let brokenPipe = false
  let outputFailure: Error | undefined
  stdout.on('error', (error) => {
    if (systemErrorCode(error) === 'EPIPE') brokenPipe = true
    else outputFailure ??= outputFailed(error)
    abort.abort(error)
  })
  stderr.on('error', () => {}) // Nobody listens to messages: no reason to stop.
  const onSignal = () => {
    if (abort.signal.aborted) process.exit(130) // Whatever does not end in time is as safe as after a crash.
    abort.abort(cancelled())
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, onSignal)
  const hadTerminal = [0, 1, 2].some(isatty)
  process.on('SIGHUP', () => {
    if (isTerminalGone(hadTerminal)) onSignal()
  })

  const json = argv.includes('--json')
  let stateFolder: string | undefined
  let knownOnCancel: string | undefined
  let color = false
  const report = (error: unknown) =>
    reportFailure(foreseen(error, abort.signal, knownOnCancel), {
      json,
      style: plainStyle(color),
      print: writeStderr,
      stateFolder,
    })
  // What escapes every promise that is waited for is a defect too, and must not look like success.
  process.once('uncaughtException', (error) => {
    if (brokenPipe) process.exit(brokenPipeStatus)
    void report(error).then((status) => process.exit(status))
  })
  try {
    const parsed = (await readPlainLine(argv)) ?? (await parseAny(argv, columnsOf(stdout)))
    if (parsed.kind === 'text') {
      stdout.write(parsed.text)
      await flush(stdout)
      if (outputFailure) throw outputFailure
      return brokenPipe ? brokenPipeStatus : 0
    }
    const { readConfig } = await import('../app/config.ts')
    const config = readConfig(parsed.flags)
    stateFolder = config.folders.state
    const mayColor = parsed.flags.color && !config.terminal.noColor && !config.terminal.dumb
    color = mayColor && stderr.isTTY
    const out = openOutput({
      stdout,
      stderr,
      json: parsed.flags.json,
      quiet: parsed.flags.quiet,
      verbose: parsed.flags.verbose,
      color: { stdout: mayColor && stdout.isTTY, stderr: color },
      width: columnsOf(stdout),
    })
    const clock = systemClock
    const progress = openProgress({
      out,
      stderr,
      clock,
      width: stderr.isTTY && !config.terminal.dumb ? () => stderr.columns || fallbackColumns : undefined,
    })
    for (const warning of config.warnings) progress.warn({ warning })
    await using frame = openFrame({
      config,
      clock,
      out,
      reporter: progress,
      flags: parsed.flags,
      isOfKeys: firstOperand(argv) === 'key',
      signal: abort.signal,
    })
    try {
      const status = await parsed.command.run(
        {
          ...frame.context,
          reporter: progress,
          whenCancelled: (known) => {
            knownOnCancel = known
          },
        },
        parsed.operands,
        parsed.typed,
      )
      // A result that did not reach its file is no success; work that was done before a late Ctrl-C is one.
      await flush(stdout)
      if (outputFailure) throw outputFailure
      return brokenPipe ? brokenPipeStatus : status
    } finally {
      progress.end()
    }
  } catch (error) {
    if (brokenPipe) return brokenPipeStatus
    return await report(outputFailure ?? error)
  }
}

/** What programs ask for first is told at once; for the rest there is commander. */
async function parseAny(argv: readonly string[], width: number | undefined): Promise<Parsed> {
  const { version } = await import('./version.ts')
  if (argv.length === 1 && argv[0] === '--version') return { kind: 'text', text: `${version}\n` }
  const { parseArguments } = await import('./parse.ts')
  return await parseArguments(argv, { version, width })
}

/** Resolves when all that was written has been taken, or failed: the failure itself comes as an event. */
function flush(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    stream.write('', () => setImmediate(resolve))
  })
}

function columnsOf(stream: NodeJS.WriteStream): number | undefined {
  return stream.isTTY ? stream.columns || fallbackColumns : undefined
}

interface Frame extends AsyncDisposable {
  readonly context: Omit<Context, 'reporter' | 'whenCancelled'>
}

/** What a command may open, each on first use, closed in reverse order. */
function openFrame(options: {
  config: Config
  clock: Clock
  out: Output
  reporter: Reporter
  flags: GlobalFlags
  /** `vml key …`: who types that needs no word about keys. */
  isOfKeys: boolean
  signal: AbortSignal
}): Frame {
  const { config, clock, out, reporter, flags, isOfKeys, signal } = options
  const opened = new AsyncDisposableStack()
  const prompts = openPrompts({
    yes: flags.yes,
    interactive: isatty(0) && isatty(2) && !flags.json,
    // Looked at only when something is asked: opening it costs, and holds the process.
    stdin: () => process.stdin,
    stderr: process.stderr,
    signal,
  })
  let logbook: Promise<Logbook> | undefined
  const ahead = new Map<Machine, Promise<Shell>>()
  return {
    context: {
      config,
      clock,
      out,
      signal,
      openLogbook: () =>
        (logbook ??= import('../app/open.ts').then(async ({ openLogbook }) => {
          let asked = false
          const askSecret = async (question: string) => {
            asked = true
            return await prompts.askSecret(question)
          }
          const found = opened.use(await openLogbook(config, { signal, reporter, askSecret }))
          if (asked && !isOfKeys) {
            const of = config.logbook?.from === '--logbook' ? ` --logbook ${found.location}` : ''
            out.note(`To be asked no more on this computer: vml key add${of}`)
          }
          return found
        })),
      openSystemLogbook: async ({ make } = { make: false }) => {
        const { openSystemLogbook, requireSystemLogbook } = await import('../app/system-logbook.ts')
        const options = { signal, reporter, askSecret: () => Promise.resolve(undefined) }
        return opened.use(
          make
            ? await requireSystemLogbook(config, clock, options)
            : await openSystemLogbook(config, options),
        )
      },
      openShell: async (machine): Promise<Shell> => {
        const { openShell } = await import('../app/open-shell.ts')
        const reached = ahead.get(machine)
        ahead.delete(machine)
        const { askPerson } = prompts
        return opened.use(await openShell(config, machine, { askPerson, reached, signal }))
      },
      reachAhead(machine) {
        if (machine.address.kind === 'local' || ahead.has(machine)) return
        const stop = new AbortController()
        const reached = import('../app/open-shell.ts').then(({ connectTo }) =>
          connectTo(config, machine.address, AbortSignal.any([signal, stop.signal])),
        )
        ahead.set(machine, reached)
        // Should nobody come for it, it is not waited for.
        opened.defer(async () => {
          stop.abort(new VmlError('cancelled', `Cancelled connecting to ${machine.name}`))
          await (await reached.catch(() => undefined))?.[Symbol.asyncDispose]()
        })
      },
      confirm: (question) => prompts.confirm(question),
      askSecret: (question) => prompts.askSecret(question),
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}

/** A failure is told even when the process ends at once. */
function writeStderr(text: string): void {
  try {
    writeSync(2, text)
  } catch (error) {
    if (systemErrorCode(error) === 'EAGAIN') process.stderr.write(text)
    else if (!(error instanceof VmlError) && systemErrorCode(error) === undefined) throw error
  }
}

// As ./vml runs it; vml.js is the quicker door.
if (import.meta.main) process.exitCode = await main(process.argv.slice(2))
