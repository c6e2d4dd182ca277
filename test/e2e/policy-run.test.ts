// What a timer does over days: due saves, none where nothing has changed, thinning, space; on a clock of the test's own.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { readConfig } from '../../src/app/config.ts'
import { openShell } from '../../src/app/open-shell.ts'
import { withPolicyLock } from '../../src/app/policy-lock.ts'
import type { PolicyEvent, RunOptions } from '../../src/app/policy-events.ts'
import { runPolicies } from '../../src/app/run-policies.ts'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { silentReporter } from '../../src/base/progress.ts'
import { listEntries } from '../../src/engine/entries.ts'
import type { Machine } from '../../src/model/machine.ts'
import type { Shell } from '../../src/wire/shell.ts'
import { vmlEnvironment } from '../cli.ts'
import { addEntry, openTestLogbook } from '../entries.ts'
import { type MachineBench, openMachineBench } from './machine-bench.ts'

const hourMs = 3_600_000
const startMs = Date.parse('2026-03-01T00:00:00Z')
const everything: RunOptions = { save: true, thin: true, prune: true, dryRun: false }

let bench: MachineBench
before(async () => {
  bench = await openMachineBench()
})
after(async () => await bench[Symbol.asyncDispose]())

interface TickOptions {
  readonly sleep?: Clock['sleep']
  /** The machine lets in a user who may not read everything. */
  readonly asNobody?: boolean
  /** Hears what is run on the machine, which then is asked as any other: by its own programs. */
  readonly onProgram?: (argv: readonly string[]) => void
}

function withoutRights(shell: Shell): Shell {
  const drop = ['setpriv', '--reuid=nobody', '--regid=nogroup', '--clear-groups']
  return {
    ...shell,
    start: (request) => shell.start({ ...request, argv: [...drop, ...request.argv] }),
    run: (request) => shell.run({ ...request, argv: [...drop, ...request.argv] }),
  }
}

function heard(shell: Shell, onProgram: (argv: readonly string[]) => void): Shell {
  const start: Shell['start'] = async (request) => {
    onProgram(request.argv)
    return await shell.start(request)
  }
  const run: Shell['run'] = async (request) => {
    onProgram(request.argv)
    return await shell.run(request)
  }
  return { ...shell, start, run }
}

/** One tick of the timer. */
async function tick(
  nowMs: number,
  options: RunOptions = everything,
  on: MachineBench = bench,
  { sleep = systemClock.sleep, asNobody = false, onProgram }: TickOptions = {},
): Promise<readonly PolicyEvent[]> {
  const { home } = on
  const environment = vmlEnvironment({ home, env: asNobody || onProgram ? { VML_NO_FFI: '1' } : {} })
  const config = readConfig({}, { environment, workingFolder: home })
  const { signal } = new AbortController()
  await using logbook = await openTestLogbook(on.test)
  await using opened = new AsyncDisposableStack()
  const context = {
    config,
    clock: { now: () => nowMs, sleep },
    reporter: silentReporter,
    signal,
    openShell: async (machine: Machine) => {
      const shell = opened.use(await openShell(config, machine, { signal, askPerson: undefined }))
      if (onProgram) return heard(shell, onProgram)
      return asNobody ? withoutRights(shell) : shell
    },
    agreeTo: () => Promise.resolve(),
  }
  return await Array.fromAsync(runPolicies(context, logbook, config.policies, options))
}

const words = (events: readonly PolicyEvent[]) =>
  events.map(({ what }) => what).filter((what) => what !== 'plan')

async function entriesOf(on: MachineBench = bench) {
  await using logbook = await openTestLogbook(on.test)
  return await listEntries(logbook)
}

test('a day of hourly saves makes an entry for each hour in which something changed, and no other (T2, Y1)', async () => {
  bench.sh('mkdir -p w/deep; echo 1 > w/a; echo 2 > w/deep/b; ln -s a w/link; mkfifo w/pipe')
  await bench.vml(['policy', 'set', 'here', '--every', '1h', '--only', join(bench.home, 'w')])
  const changes = new Map([
    [0, ':'],
    [2, 'echo more >> w/a'],
    [3, 'chmod 600 w/a'],
    [4, 'rm w/deep/b'],
    [5, 'mkdir w/new'],
    [6, 'touch -d @1000000000 w/a'],
    [7, 'ln -sf deep w/link'],
    [8, 'mv w/a w/c'],
    [9, 'chown 1234 w/c'],
    // Other bytes of the same length, the old time put back: only ctime tells.
    [11, 'cp -p w/c beside; echo xore > new; cat new > w/c; touch -r beside w/c; rm beside new'],
  ])
  for (let hour = 0; hour < 13; hour++) {
    bench.sh(changes.get(hour) ?? ':')
    const events = await tick(startMs + hour * hourMs)
    assert.deepEqual(words(events), [changes.has(hour) ? 'saved' : 'unchanged'], `hour ${hour}`)
  }
  assert.equal((await entriesOf()).length, changes.size)
})

test('a machine is scanned once for each due save, whether anything has changed or not (T2)', async () => {
  await using own = await openMachineBench()
  own.sh('mkdir w; echo 1 > w/a; echo 2 > w/b')
  await own.vml(['policy', 'set', 'here', '--every', '1h', '--only', join(own.home, 'w')])
  const changes = [':', ':', 'echo more >> w/a; rm w/b', ':']
  const seen: string[] = []
  for (const [hour, change] of changes.entries()) {
    own.sh(change)
    let scans = 0
    const onProgram = (argv: readonly string[]) => {
      if (argv.some((word) => /xargs .* find$/m.test(word))) scans++
    }
    const [what] = words(await tick(startMs + hour * hourMs, everything, own, { onProgram }))
    seen.push(`${what} ${scans}`)
  }
  assert.deepEqual(seen, ['saved 1', 'unchanged 1', 'saved 1', 'unchanged 1'])
  own.check()
})

test('a file that was written again with the same content and time is no change', async () => {
  const now = startMs + 24 * hourMs
  bench.sh('cp -p w/c beside; cat beside > w/c; touch -r beside w/c; rm beside')
  assert.deepEqual(words(await tick(now)), ['unchanged'])
})

test('between two due times nothing is looked at, and what was missed for days is made up for by one save', async () => {
  const now = startMs + 25 * hourMs
  bench.sh('echo x >> w/c')
  assert.deepEqual(words(await tick(now)), ['saved'])
  bench.sh('echo y >> w/c')
  assert.deepEqual(words(await tick(now + hourMs / 2)), ['not-due'])
  assert.deepEqual(words(await tick(now + 72 * hourMs)), ['saved'])
  assert.deepEqual(words(await tick(now + 72 * hourMs + 60_000)), ['not-due'])
})

test('a dry run looks and changes nothing', async () => {
  const entries = await entriesOf()
  const now = startMs + 200 * hourMs
  bench.sh('echo z >> w/c')
  assert.deepEqual(words(await tick(now, { ...everything, dryRun: true })), ['due'])
  assert.deepEqual(await entriesOf(), entries)
})

test('an entry that a wrong clock has put into the future keeps nothing from being saved', async () => {
  await addEntry(bench.test, { machine: 'here', title: 'future', at: '2090-01-01T00:00:00Z', files: {} })
  bench.sh('echo f >> w/c')
  const now = startMs + 201 * hourMs
  assert.deepEqual(words(await tick(now)), ['saved'])
})

test('what a policy saves stands in it: another question makes an entry though nothing changed', async () => {
  const now = startMs + 300 * hourMs
  const entries = (await entriesOf()).length
  await bench.vml(['policy', 'set', 'here', '--exclude', '*.o'])
  assert.deepEqual(words(await tick(now)), ['saved'])
  assert.deepEqual(words(await tick(now + hourMs)), ['unchanged'])
  bench.sh('touch -r w beside; echo o > w/x.o; touch -r beside w; rm beside')
  assert.deepEqual(words(await tick(now + 2 * hourMs)), ['unchanged'])
  assert.equal((await entriesOf()).length, entries + 1)
})

test('a folder instead of the home and one more beside it are both saved, and once only', async () => {
  const now = startMs + 310 * hourMs
  bench.sh('mkdir more; echo more > more/than-w')
  await bench.vml(['policy', 'set', 'here', '--include', join(bench.home, 'more')])
  assert.deepEqual(words(await tick(now)), ['saved'])
  const saved = (await entriesOf()).find(({ takenAt }) => takenAt.getTime() === now)
  for (const file of ['w', 'more/than-w']) await bench.vml(['ls', `${saved?.id}:${join(bench.home, file)}`])
  assert.deepEqual(words(await tick(now + hourMs)), ['unchanged'])
  await bench.vml(['policy', 'set', 'here', '--include', 'none'])
})

test('old entries go by the rules, and a day later their space is free (Y6, M6)', async () => {
  await using own = await openMachineBench()
  own.sh('mkdir w')
  const only = join(own.home, 'w')
  await own.vml([
    'policy',
    'set',
    'here',
    '--every',
    '1h',
    '--keep-last',
    '2',
    '--keep-daily',
    '2',
    '--only',
    only,
  ])
  let pruned = 0
  for (let hour = 0; hour < 72; hour += 12) {
    own.sh('head -c 300000 /dev/urandom > w/data')
    const events = await tick(startMs + hour * hourMs, everything, own)
    assert.ok(words(events).includes('saved'))
    pruned += words(events).filter((what) => what === 'pruned').length
  }
  const kept = await entriesOf(own)
  assert.ok(kept.length <= 4)
  // At most once a day.
  assert.ok(pruned >= 1 && pruned <= 3, `${pruned} prunes`)
  const status = JSON.parse((await own.vml(['status', '--json'])).stdout) as { logbook: { bytes: number } }
  assert.ok(status.logbook.bytes < 6 * 300_000, `${status.logbook.bytes} bytes`)
  own.restic('unlock')
  own.check()
})

test('a machine that cannot be reached does not keep the others from their saves, and the run says so', async () => {
  await using own = await openMachineBench()
  own.sh('mkdir w; echo 1 > w/a')
  await own.vml(['machine', 'add', 'gone', 'ssh://nobody@127.0.0.1:1'])
  await own.vml(['policy', 'set', 'gone', '--every', '1h', '--budget', '8%', '--keep-last', '3'])
  await own.vml(['policy', 'set', 'here', '--every', '1h', '--only', join(own.home, 'w')])
  const run = await own.vml(['policy', 'run', '--all', '--yes'], { status: 1 })
  assert.match(run.stdout, /^here: saved #1 in /m)
  assert.match(run.stderr, /gone: not saved: /)
  const again = await own.vml(['policy', 'run', '--yes', '--json'], { status: 1 })
  const lines = again.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter((line) => line['message_type'] !== 'status')
  assert.deepEqual(
    lines.map((line) => [line['message_type'], line['action'] ?? line['failed'], line['machine'] ?? null]),
    [
      ['error', 'failed', 'gone'],
      ['error', 'failed', 'gone'],
      ['verbose_status', 'plan', 'gone'],
      ['verbose_status', 'not-due', 'here'],
      ['verbose_status', 'plan', 'here'],
      ['summary', 2, null],
    ],
  )
})

test('what could not be read makes no entry an hour, and one as soon as it can be read', async () => {
  await using own = await openMachineBench()
  own.sh('mkdir -p w/shut; echo s > w/secret; echo i > w/shut/in; chmod 000 w/secret w/shut; echo o > w/open')
  own.sh('chmod 711 . ..')
  await own.vml(['policy', 'set', 'here', '--every', '1h', '--only', join(own.home, 'w')])
  let hour = 0
  const next = async () => words(await tick(startMs + hour++ * hourMs, everything, own, { asNobody: true }))
  assert.deepEqual(await next(), ['saved'])
  assert.equal((await entriesOf(own)).at(-1)?.facts?.outcome, 'partial')
  assert.deepEqual(await next(), ['unchanged'])
  own.sh('chmod 444 w/secret')
  assert.deepEqual(await next(), ['saved'])
  assert.deepEqual(await next(), ['unchanged'])
  own.sh('chmod 755 w/shut')
  assert.deepEqual(await next(), ['saved'])
  assert.equal((await entriesOf(own)).at(-1)?.facts?.outcome, 'complete')
  own.sh('chmod 000 w/shut')
  assert.deepEqual(await next(), ['saved'])
  assert.deepEqual(await next(), ['unchanged'])
})

test('a run waits for the logbook where another program holds it alone', async () => {
  bench.sh('echo locked >> w/c')
  await using other = await openTestLogbook(bench.test)
  const lock = await other.repository.lock('exclusive')
  let waits = 0
  const release = async () => {
    if (++waits === 2) await lock[Symbol.asyncDispose]()
  }
  const events = await tick(startMs + 400 * hourMs, everything, bench, { sleep: release })
  assert.deepEqual(words(events), ['saved'])
  assert.equal(waits, 2)
})

test('of two runs at once the second does nothing, and says so', async () => {
  const { home } = bench
  const config = readConfig({}, { environment: vmlEnvironment({ home }), workingFolder: home })
  await withPolicyLock(config, systemClock, async () => {
    const second = await bench.vml(['policy', 'run', '--yes'], { status: 11 })
    assert.match(second.stderr, /at work/)
    await bench.vml(['policy', 'apply', '--dry-run'])
  })
})

test('nothing goes without a yes', async () => {
  await bench.vml(['policy', 'set', 'here', '--keep-last', '1'])
  const entries = await entriesOf()
  assert.ok(entries.length > 2)
  await bench.vml(['policy', 'apply', 'here'], { status: 2 })
  assert.deepEqual(await entriesOf(), entries)
  await bench.vml(['policy', 'apply', 'here', '--yes'])
  // The last one, and the one of the wrong clock: neither may be taken for the other.
  assert.equal((await entriesOf()).length, 2)
})

test('a budget lets the oldest go before the next day, and is announced (M6)', async () => {
  await using own = await openMachineBench()
  own.sh('mkdir w')
  const only = join(own.home, 'w')
  await own.vml(['policy', 'set', 'here', '--every', '1h', '--budget', '100%', '--only', only])
  for (let hour = 0; hour < 4; hour++) {
    own.sh('head -c 300000 /dev/urandom > w/data')
    await tick(startMs + hour * hourMs, everything, own)
  }
  assert.equal((await entriesOf(own)).length, 4)
  await own.vml(['policy', 'set', 'here', '--budget', '750KiB'])
  const dry = await own.vml(['policy', 'apply', '--dry-run'])
  assert.match(dry.stdout, /over the budget of 750KiB/)
  // Measured within the day: a timer waits, a person does not.
  assert.deepEqual(words(await tick(startMs + 5 * hourMs, everything, own)), ['unchanged'])
  assert.deepEqual(words(await tick(startMs + 26 * hourMs, everything, own)).slice(0, 2), [
    'unchanged',
    'removed',
  ])
  assert.deepEqual(
    (await entriesOf(own)).map(({ number }) => number),
    [3, 4],
  )
})

test('a machine without a policy is told how to get one', async () => {
  const refused = await bench.vml(['policy', 'apply', 'other'], { status: 4 })
  assert.match(refused.stderr, /vml policy set other/)
})
