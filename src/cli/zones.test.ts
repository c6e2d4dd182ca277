// Times are those of the computer that shows them, wherever and by which clock an entry was made; JSON has them as the entry does.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { openTestHome, type TestHome } from '../../test/cli.ts'
import { addEntry } from '../../test/entries.ts'

let home: TestHome
before(async () => {
  home = await openTestHome()
  await addEntry(home, { title: 'late', at: '2026-07-01T20:30:00Z', files: { '/home/lab/a': 'a' } })
})
after(async () => {
  await home[Symbol.asyncDispose]()
})

// Of the same moment: an evening, the next morning, and a zone whose hours are not whole.
const zones = [
  { zone: 'UTC', day: '2026-07-01', time: '20:30', offset: '+00:00' },
  { zone: 'Asia/Tokyo', day: '2026-07-02', time: '05:30', offset: '+09:00' },
  { zone: 'America/St_Johns', day: '2026-07-01', time: '18:00', offset: '-02:30' },
] as const

test('log and show tell the local time, show with its distance from UTC, and a day of --since is a local one', async () => {
  for (const { zone, day, time, offset } of zones) {
    const env = { TZ: zone }
    const log = await home.run(['log'], { env })
    assert.ok(log.stdout.startsWith(`${day}\n`) && log.stdout.includes(`  ${time}  lab`), log.stdout)
    const shown = await home.run(['show', '1'], { env })
    assert.match(
      shown.stdout,
      new RegExp(`^taken +${day} ${time}:00 \\${offset.slice(0, 1)}${offset.slice(1)}$`, 'm'),
    )
    const told = JSON.parse((await home.run(['show', '1', '--json'], { env })).stdout) as { time: string }
    assert.equal(new Date(told.time).toISOString(), '2026-07-01T20:30:00.000Z')
    assert.match(told.time, /Z$/)
    const since = async (from: string) =>
      (await home.run(['log', '--since', from], { env })).stdout.includes('#1')
    assert.ok(await since(day))
    assert.ok(await since(`${day} ${time}`))
    assert.equal(await since('2026-07-02'), day === '2026-07-02')
    // In words where one looks for it.
    assert.match((await home.run(['log', '--help'], { env })).stdout, /local time/)
  }
})
