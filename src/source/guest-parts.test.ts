import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isFailure } from '../base/failure.ts'
import { runParts, startParts, type GuestPart, type PartOutcome } from './guest-parts.ts'
import { openBench, userlands } from './userlands.fixture.ts'

const part = (script: string, more: Partial<GuestPart> = {}): GuestPart => ({
  script,
  timeoutMs: 30_000,
  outputBytesMax: 1000,
  ...more,
})
// A shell on a busy computer has said its word by then.
const enoughMs = 3000
const told = ({ status, limit, skipped, stdout }: PartOutcome) => [
  skipped === true ? 'skipped' : (limit ?? status),
  stdout.length > 100 ? stdout.length : stdout.toString('latin1'),
]

for (const name of ['gnu', 'busybox'] as const) {
  const withShell = async (use: (shell: Parameters<typeof runParts>[0], folder: string) => Promise<void>) => {
    using bench = openBench()
    const found = userlands(bench).find((userland) => userland.name === name)
    assert.ok(found)
    await use(found.shell, bench.folder)
  }

  test(`${name}: what hangs, talks too much, dies or leaves programs behind takes nothing from the parts around it`, async () => {
    await withShell(async (shell) => {
      const outcomes = await runParts(shell, [
        part('printf one'),
        part('echo before; exec sleep 60', { timeoutMs: enoughMs }),
        part('trap "" TERM; echo stubborn; while :; do sleep 1; done', { timeoutMs: enoughMs }),
        part('sleep 60 & printf left', { timeoutMs: enoughMs }),
        part('exec cat /dev/zero'),
        part('printf a; kill -KILL $$'),
        part('cat; exit 3'),
        part('sleep 60 >/dev/null & printf last'),
      ])
      assert.deepEqual(outcomes.map(told), [
        [0, 'one'],
        ['time', 'before\n'],
        ['time', 'stubborn\n'],
        ['time', 'left'],
        ['output', 1000],
        [137, 'a'],
        [3, ''],
        [0, 'last'],
      ])
    })
  })

  test(`${name}: of an output exactly as long as its limit all is told, and one byte more is too much`, async () => {
    await withShell(async (shell) => {
      const outcomes = await runParts(shell, [
        part('head -c 1000 /dev/zero'),
        part('head -c 1001 /dev/zero'),
        part('head -c 1080 /dev/zero'),
      ])
      assert.deepEqual(
        outcomes.map(({ status, limit, stdout }) => [status, limit, stdout.length]),
        [
          [0, undefined, 1000],
          [undefined, 'output', 1000],
          [undefined, 'output', 1000],
        ],
      )
    })
  })

  test(`${name}: words arrive as they are, and any bytes come back as they are`, async () => {
    await withShell(async (shell) => {
      const words = fc.array(
        fc
          .array(fc.integer({ min: 1, max: 255 }), { maxLength: 20 })
          .map((bytes) => Buffer.from(bytes).toString('latin1')),
        { minLength: 1, maxLength: 5 },
      )
      await fc.assert(
        fc.asyncProperty(fc.array(words, { minLength: 1, maxLength: 8 }), async (lists) => {
          const outcomes = await runParts(
            shell,
            lists.map((list) => part(`printf '%s\\000' "$@"`, { words: list })),
          )
          assert.deepEqual(
            outcomes.map(({ stdout }) => stdout.toString('latin1')),
            lists.map((list) => list.map((word) => `${word}\0`).join('')),
          )
        }),
        { numRuns: 10 },
      )
    })
  })

  test(`${name}: a part for a file is passed over unless it is a regular file that is there`, async () => {
    await withShell(async (shell, folder) => {
      const cat = (onlyIf: string) =>
        part('cat "$1"', { words: [onlyIf], onlyIf: onlyIf as NonNullable<GuestPart['onlyIf']> })
      const outcomes = await runParts(shell, [
        part(`cd '${folder}'; echo x > "it's"; mkfifo fifo`),
        cat(`${folder}/it's`),
        cat(`${folder}/fifo`),
        cat(`${folder}/absent`),
      ])
      assert.deepEqual(outcomes.map(told), [
        [0, ''],
        [0, 'x\n'],
        ['skipped', ''],
        ['skipped', ''],
      ])
    })
  })

  test(`${name}: a part sees neither the words that end parts nor variables of the script around it`, async () => {
    await withShell(async (shell) => {
      // Processes of others end while their words are read: how the last `cat` ends says nothing.
      const [seen] = await runParts(shell, [
        part('env; set; for file in /proc/[0-9]*/cmdline; do cat "$file"; done; cat /proc/$$/cmdline', {
          outputBytesMax: 10_000_000,
        }),
      ])
      assert.equal(seen?.status, 0)
      assert.doesNotMatch(seen.stdout.toString('latin1'), /vml[0-9a-f]{32}/)
    })
  })
}

test('answers come as their parts end, and disposing ends what still runs', async () => {
  using bench = openBench()
  const [local] = userlands(bench)
  assert.ok(local)
  const run = startParts(local.shell, [part('echo $$'), part('exec sleep 60'), part('echo never')])
  const [first, slow, never] = run.outcomes
  assert.match((await first)?.stdout.toString() ?? '', /^\d+\n$/)
  await run[Symbol.asyncDispose]()
  for (const outcome of [slow, never])
    await assert.rejects(outcome ?? Promise.resolve(), (error) => isFailure(error, 'cancelled'))
})

test('a machine that breaks off or says what was not asked fails every part that is left', async () => {
  using bench = openBench()
  const [local] = userlands(bench)
  assert.ok(local)
  const breaking = startParts(local.shell, [part('echo 1'), part('kill -KILL 0'), part('echo 3')])
  assert.equal((await breaking.outcomes[0])?.status, 0)
  await assert.rejects(breaking.outcomes[2] ?? Promise.resolve())
  await breaking[Symbol.asyncDispose]()
  for (const output of ['no frames', 'x'.repeat(100_000)]) {
    const shell = {
      ...local.shell,
      start: () => local.shell.start({ argv: ['printf', '%s', output] }),
    }
    await assert.rejects(runParts(shell, [part('echo 1')]), (error) => isFailure(error, 'remote.protocol'))
  }
})
