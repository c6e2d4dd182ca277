// Against a systemctl that writes down what it is asked for; systemd itself runs in guests only.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { VmlError } from '../base/failure.ts'
import { rawFromString } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { Shell } from '../wire/shell.ts'
import { reloadServices, startServices, stopServices, unitsOfPaths } from './services.ts'

const paths = (...each: readonly string[]) => each.map((path) => rawFromString(path) as RawPath)

/** A machine with these units running; a second passes with each call. */
function machine({ running = [] as readonly string[], broken = '', booted = true } = {}) {
  const asked: string[] = []
  let seconds = 0
  const shell: Shell = {
    label: 'lab',
    start: () => Promise.reject(new Error('not asked for')),
    run({ argv }) {
      seconds++
      const answer = (status: number, stdout = '', stderr = '') =>
        Promise.resolve({ status, stdout: Buffer.from(stdout), stderr: Buffer.from(stderr) })
      if (argv[0] === 'test') return answer(booted ? 0 : 1)
      const words = argv.slice(4)
      asked.push(words.filter((word) => !word.startsWith('--')).join(' '))
      if (words[0] === 'list-units')
        return answer(0, running.map((unit) => `${unit} loaded active running A service\n`).join(''))
      return `${words[0]} ${words.at(-1)}` === broken ? answer(1, '', 'Job failed.\n') : answer(0)
    },
    async [Symbol.asyncDispose]() {},
  }
  return { shell, asked, clock: { now: () => seconds * 1000, sleep: () => Promise.resolve() } }
}

test('units are found by their files, what is added to them, and scripts of init.d', () => {
  assert.deepEqual(
    unitsOfPaths(
      paths(
        '/usr/lib/systemd/system/nginx.service',
        '/lib/systemd/system/a.socket',
        '/etc/systemd/system/b.service.d/limits.conf',
        '/etc/systemd/system/multi-user.target.wants/c.service',
        '/lib/systemd/system/d@.service',
        '/etc/init.d/e',
        '/etc/init.d/README',
        '/usr/lib/systemd/user/f.service',
        '/usr/lib/systemd/system/$(g).service',
        '/etc/systemd/system',
      ),
    ),
    ['a.socket', 'b.service', 'd@.service', 'e.service', 'nginx.service'],
  )
})

test('only what runs is stopped, is started again in the other order, and it is told how long it stood', async () => {
  const { shell, asked, clock } = machine({ running: ['a.service', 'd@1.service'] })
  const stopped = await stopServices(shell, ['a.service', 'b.service', 'd@.service'], clock)
  await reloadServices(shell)
  const standings = await startServices(shell, stopped, clock)
  assert.deepEqual(asked, [
    'list-units a.service b.service d@*.service',
    'stop a.service',
    'stop d@1.service',
    'daemon-reload',
    'start d@1.service',
    'start a.service',
  ])
  assert.deepEqual(standings, [
    { unit: 'd@1.service', stoodMs: 3000 },
    { unit: 'a.service', stoodMs: 5000 },
  ])
})

test('a service that does not stop leaves the others running, and one that does not start is told', async () => {
  const first = machine({ running: ['a.service', 'b.service'], broken: 'stop b.service' })
  await assert.rejects(
    stopServices(first.shell, ['a.service', 'b.service'], first.clock),
    (error: unknown) =>
      error instanceof VmlError && /Cannot stop "b.service" on lab: Job failed\./.test(error.message),
  )
  assert.equal(first.asked.at(-1), 'start a.service')
  const second = machine({ running: ['a.service', 'b.service'], broken: 'start b.service' })
  const stopped = await stopServices(second.shell, ['a.service', 'b.service'], second.clock)
  const [b, a] = await startServices(second.shell, stopped, second.clock)
  assert.match(b?.failure ?? '', /Job failed/)
  assert.equal(a?.failure, undefined)
})

test('where no systemd runs nothing is asked of it', async () => {
  const { shell, asked, clock } = machine({ running: ['a.service'], booted: false })
  assert.deepEqual(await stopServices(shell, ['a.service'], clock), [])
  await reloadServices(shell)
  assert.deepEqual(asked, [])
})
