// `vml policy`, run as a user runs it; that its rules are restic's, asked of restic on the same logbook.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { after, before } from 'node:test'
import { promisify } from 'node:util'
import { openTestHome, type TestHome } from '../../test/cli.ts'
import { addEntry } from '../../test/entries.ts'
import { resticProgram } from '../../test/restic-peer.ts'
import { noise } from '../../test/store-fixture.ts'
import { shortId } from '../model/ids.ts'

const run = promisify(execFile)
let home: TestHome
before(async () => {
  home = await openTestHome()
  await home.run(['machine', 'add', 'lab', 'ssh://lab@127.0.0.1:1'])
})
after(async () => {
  await home[Symbol.asyncDispose]()
})

const json = async (...args: readonly string[]): Promise<unknown> => {
  const { stdout, stderr, status } = await home.run([...args, '--json'])
  assert.equal(status, 0, stderr)
  return JSON.parse(stdout)
}
const settings = async () => {
  const { policies } = (await json('policy', 'show')) as { policies: readonly Record<string, unknown>[] }
  const others = new Set(['machine', 'project', 'thins'])
  return policies.map((policy) =>
    Object.fromEntries(Object.entries(policy).filter(([name]) => !others.has(name))),
  )
}

test('a policy is set, changed setting by setting, shown, and taken away', async () => {
  assert.equal((await home.run(['policy', 'set', 'lab', '--every', '1h', '--keep-daily', '7'])).status, 0)
  await home.run([
    'policy',
    'set',
    'lab',
    '--keep-daily',
    'unlimited',
    '--keep-tag',
    'a,b',
    '--keep-tag',
    'c',
  ])
  assert.deepEqual(await settings(), [{ every: '1h', keep_daily: 'unlimited', keep_tag: ['a,b', 'c'] }])
  await home.run(['policy', 'set', 'lab', '--every', 'none', '--keep-tag', 'none', '--budget', '20GiB'])
  assert.deepEqual(await settings(), [{ keep_daily: 'unlimited', budget: '20GiB' }])
  assert.equal((await home.run(['policy', 'rm', 'lab', '--dry-run'])).status, 0)
  assert.equal((await settings()).length, 1)
  assert.equal((await home.run(['policy', 'rm', 'lab'])).status, 0)
  assert.deepEqual(await settings(), [])
  assert.equal((await home.run(['policy', 'rm', 'lab'])).status, 4)
})

test('a relative path of a policy is meant from where it was typed, as that of a save, and kept so that no other is ever meant', async () => {
  await using own = await openTestHome()
  const work = join(own.home, 'work')
  await mkdir(join(work, 'data'), { recursive: true })
  // Of the same name where a timer runs it.
  await mkdir(join(own.home, 'data'))
  await writeFile(join(work, 'data', 'meant'), 'x')
  await writeFile(join(own.home, 'data', 'other'), 'y')
  await own.run(['machine', 'add', 'here', 'local:'])
  await own.run(['machine', 'add', 'far', 'ssh://lab@127.0.0.1:1'])
  const paths = ['--only', 'data', '--include', '../work', '--include', '~/data', '--cache', 'big=data/cache']
  const kept = async (machine: string) => {
    const set = await own.run(['policy', 'set', machine, '--every', '1h', ...paths, '--json'], { cwd: work })
    assert.equal(set.status, 0, set.stderr)
    const { only, include, cache } = (
      JSON.parse(set.stdout) as { policy: Record<'only' | 'include' | 'cache', unknown> }
    ).policy
    return { only, include, cache }
  }
  assert.deepEqual(await kept('here'), {
    only: [join(work, 'data')],
    include: [work, '~/data'],
    cache: [`big=${join(work, 'data/cache')}`],
  })
  // Of another machine's folders only its home is known.
  assert.deepEqual(await kept('far'), {
    only: ['~/data'],
    include: ['~/../work', '~/data'],
    cache: ['big=~/data/cache'],
  })
  for (const args of [
    ['--cache', 'data'],
    ['--cache', 'a/b=data'],
    ['--only', ''],
  ])
    assert.equal((await own.run(['policy', 'set', 'here', ...args])).status, 2, args.join(' '))

  await own.run(['policy', 'rm', 'far'])
  await own.run(['policy', 'set', 'here', '--include', 'none', '--cache', 'none'])
  const ran = await own.run(['policy', 'run', '--all', '--yes', '--quiet'])
  assert.deepEqual(ran, { status: 0, stdout: '', stderr: '' }, 'a timer mails nothing while all is well')
  await own.run(['save', 'here', '--only', 'data'], { cwd: work })
  for (const entry of ['1', '2']) {
    const { stdout } = await own.run(['ls', `${entry}:/`, '--recursive'])
    assert.ok(stdout.includes('meant') && !stdout.includes('other'), stdout)
  }
})

test('what cannot be meant is refused, and nothing is written', async () => {
  const file = join(home.home, '.config/vml/config.toml')
  const text = await readFile(file, 'utf8')
  for (const args of [
    ['lab'],
    ['lab', '--every', '1y'],
    ['lab', '--keep-last', '-1'],
    ['lab', '--keep-within', '30'],
    ['lab', '--budget', '0%'],
    ['lab', '--budget', '8'],
    ['lab', '--keep-tag', 'a,,b'],
    ['lab', '--project', 'a\nb', '--keep-last', '1'],
  ]) {
    const refused = await home.run(['policy', 'set', ...args])
    assert.equal(refused.status, 2, `${args.join(' ')}: ${refused.stderr}`)
  }
  assert.equal((await home.run(['policy', 'set', 'nobody', '--every', '1h'])).status, 4)
  await home.run(['policy', 'set', 'lab', '--keep-last', '1', '--dry-run'])
  assert.equal(await readFile(file, 'utf8'), text)
})

interface ResticGroup {
  readonly keep: readonly { readonly id: string }[] | null
}

test('what policy apply leaves of each project is what restic forget would leave of it', async () => {
  const days = [1, 1, 2, 9, 9, 10, 11, 31, 32, 70, 71, 400]
  // The oldest first, so that the highest number, which restic does not know, is the newest.
  for (const [index, day] of [...days.entries()].toReversed()) {
    const hour = String(index).padStart(2, '0')
    const at = `${new Date(Date.parse('2026-11-20T00:00:00Z') - day * 86_400_000).toISOString().slice(0, 10)}T${hour}:30:00Z`
    const project = index % 3 === 0 ? 'other' : 'thesis'
    const tags = index === 4 ? ['keep'] : index === 7 ? ['paper'] : []
    await addEntry(home, {
      title: `entry ${index}`,
      project,
      at,
      tags,
      files: { '/home/lab/a': String(index) },
    })
  }
  const rules = [
    '--keep-last',
    '2',
    '--keep-weekly',
    '2',
    '--keep-within-monthly',
    '2m',
    '--keep-tag',
    'paper',
  ]
  await home.run(['policy', 'set', 'lab', ...rules])
  const staying: string[] = []
  for (const project of ['thesis', 'other']) {
    const { stdout } = await run(
      resticProgram('0.19'),
      [
        ...['-r', home.logbook, '--no-cache', 'forget', '--dry-run', '--json', '--group-by', ''],
        ...['--host', 'lab', '--tag', `vml:project=${project}`, ...rules, '--keep-tag', 'keep'],
      ],
      { env: { ...process.env, RESTIC_PASSWORD_FILE: home.passwordFile, TZ: 'UTC' } },
    )
    const [group] = JSON.parse(stdout) as readonly ResticGroup[]
    staying.push(...(group?.keep ?? []).map(({ id }) => id))
  }
  const dry = await home.run(['policy', 'apply', 'lab', '--dry-run'])
  assert.equal(dry.status, 0, dry.stderr)
  assert.match(
    dry.stdout,
    new RegExp(`^lab: ${staying.length} entries stay, ${days.length - staying.length} would go$`, 'm'),
  )
  const applied = await home.run(['policy', 'apply', '--yes'])
  assert.equal(applied.status, 0, applied.stderr)
  const { entries } = (await json('log')) as { entries: readonly { id: string }[] }
  assert.deepEqual(entries.map(({ id }) => shortId(id)).toSorted(), staying.map(shortId).toSorted())
  assert.ok(staying.length < days.length && staying.length > 4)
  const again = await home.run(['policy', 'apply', '--yes'])
  assert.match(again.stderr, /removed 0 entries/)
})

test('a budget that cannot be met removes nothing, says what takes the room, and ends with 3', async () => {
  await using own = await openTestHome()
  await own.run(['machine', 'add', 'lab', 'ssh://lab@127.0.0.1:1'])
  // Not compressible, and the same in all.
  const large = noise(300_000, 'large').toString('latin1')
  for (const day of [1, 2, 3])
    await addEntry(own, {
      title: `day ${day}`,
      at: `2026-11-0${day}T00:00:00Z`,
      files: { '/home/lab/large': large, '/home/lab/day': String(day) },
    })
  const set = await own.run(['policy', 'set', 'lab', '--budget', '100KiB', '--keep-last', '10'])
  assert.equal(set.status, 0, set.stderr)
  assert.match(set.stderr, /#3, the newest, takes 29\d KiB by itself, more than the budget/)
  const applied = await own.run(['policy', 'apply', '--yes'])
  assert.equal(applied.status, 3, applied.stderr)
  assert.match(applied.stderr, /budget of 100 KiB cannot be met, and nothing was removed for it/)
  assert.match(applied.stderr, /vml policy set lab --budget 1MiB/)
  const { stdout, status } = await own.run(['policy', 'apply', '--dry-run', '--json'])
  assert.equal(status, 3)
  const lines = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
  const budget = lines.find(({ action }) => action === 'plan')?.['budget'] as {
    readonly exceeded: boolean
    readonly must_stay: readonly { readonly number: number; readonly why: string }[]
  }
  assert.deepEqual(
    [budget.exceeded, budget.must_stay.map(({ number, why }) => [number, why])],
    [true, [[3, 'newest']]],
  )
  const { entries } = JSON.parse((await own.run(['log', '--json'])).stdout) as { entries: unknown[] }
  assert.equal(entries.length, 3)
  const enough = await own.run(['policy', 'set', 'lab', '--budget', '1MiB'])
  assert.doesNotMatch(enough.stderr, /more than the budget/)
  assert.equal((await own.run(['policy', 'apply', '--yes'])).status, 0)
})

test('install prints its files for every system, and plans without touching anything', async () => {
  await home.run(['policy', 'set', 'lab', '--every', '15min'])
  for (const [system, sign] of [
    ['linux', 'OnCalendar=*:0/15'],
    ['macos', '<key>StartCalendarInterval</key>'],
    ['windows', '<Interval>PT15M</Interval>'],
  ] as const) {
    const printed = await home.run(['policy', 'install', '--print', '--for', system])
    assert.equal(printed.status, 0, printed.stderr)
    assert.ok(printed.stdout.includes(sign), printed.stdout)
  }
  const planned = await home.run(['policy', 'install', '--dry-run', '--for', 'linux'])
  assert.match(planned.stdout, /^Would write .*vml-policy\.timer$/m)
  await assert.rejects(readFile(join(home.home, '.config/systemd/user/vml-policy.timer')))
  assert.equal((await home.run(['policy', 'install', '--for', 'macos'])).status, 2)
})

test('where systemd cannot be reached the message has a line for cron, and an uninstall is quiet', async () => {
  await home.run(['policy', 'set', 'lab', '--every', '15min'])
  // No program of that name: as in a container.
  const env = { PATH: '/nonexistent' }
  const installed = await home.run(['policy', 'install'], { env })
  assert.equal(installed.status, 1, installed.stderr)
  assert.match(installed.stderr, /policy install --system/)
  assert.match(installed.stderr, /\*\/15 \* \* \* \* (env \S+ )*\/\S*vml policy run --all --yes .*--quiet/)
  assert.doesNotMatch(installed.stderr, /ENOENT/)
  const taken = await home.run(['policy', 'install', '--uninstall'], { env })
  assert.match(taken.stdout, /^remove .*timer$/m)
  const again = await home.run(['policy', 'install', '--uninstall'], { env })
  assert.equal(again.stdout, 'No timer of VML is there: nothing to take away\n')
  assert.equal(taken.status, 0)
  assert.doesNotMatch(taken.stderr, /failed/)
  await assert.rejects(readFile(join(home.home, '.config/systemd/user/vml-policy.timer')))
})
