// What a user is told to do next, where something is not as expected.
import assert from 'node:assert/strict'
import { chmod, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { after, before } from 'node:test'
import { openTestHome, type TestHome } from '../../test/cli.ts'
import { addEntry } from '../../test/entries.ts'
import { noise } from '../../test/store-fixture.ts'

let home: TestHome
before(async () => {
  home = await openTestHome()
  const data = noise(200_000, 'data').toString('latin1')
  await addEntry(home, { title: 'one', at: '2026-11-01T00:00:00Z', files: { '/home/lab/data': data } })
})
after(async () => {
  await home[Symbol.asyncDispose]()
})

test('a folder is no file to print: a wrong use, and the hint lists it', async () => {
  const { status, stderr } = await home.run(['cat', '1:/home/lab'])
  assert.equal(status, 2)
  assert.match(stderr, /vml ls 1:\/home\/lab/)
})

test('a password file that is not there is told in words', async () => {
  const file = join(home.home, 'nothing')
  const { status, stderr } = await home.run(['init', join(home.home, 'new'), '--password-file', file])
  assert.equal(status, 2)
  assert.match(stderr, /there is no such file/)
  assert.doesNotMatch(stderr, /ENOENT/)
})

test('a logbook to copy to is made like the one that is copied', async () => {
  const target = join(home.home, 'usb')
  const { status, stderr } = await home.run(['copy', '--all', '--to', target])
  assert.equal(status, 10)
  assert.ok(stderr.includes(`vml init ${target} --like ${home.logbook}`), stderr)
})

test('recovery data of a small logbook that takes more than its share is explained', async () => {
  const { status, stderr } = await home.run(['parity', 'set', '7%'])
  assert.equal(status, 0, stderr)
  assert.match(stderr, /More than 7% of .* from about \d+ packs on it is 7%/)
  assert.equal((await home.run(['parity', 'set', 'off', '--yes'])).status, 0)
})

test('what damage took is healed from a second logbook, and what a repair put aside is named until it is gone', async () => {
  await using own = await openTestHome()
  const data = noise(200_000, 'own').toString('latin1')
  await addEntry(own, { title: 'one', at: '2026-11-01T00:00:00Z', files: { '/home/lab/data': data } })
  const usb = join(own.home, 'usb')
  await own.run(['init', usb, '--like', own.logbook, '--password-file', own.passwordFile])
  assert.equal((await own.run(['copy', '--all', '--to', usb])).status, 0)
  await damageLargestPack(own.logbook)
  const repaired = await own.run(['check', '--repair', '--yes'])
  assert.equal(repaired.status, 3, repaired.stderr)
  assert.match(repaired.stderr, /not in this logbook any more[^]*vml copy --all --from/)
  const healed = await own.run(['copy', '--all', '--from', usb, '--to', own.logbook])
  assert.equal(healed.status, 0, healed.stderr)
  assert.match(healed.stdout, /^#1 {2}healed/m)
  const checked = await own.run(['check', '--read-data'])
  assert.equal(checked.status, 0, checked.stderr)
  assert.ok(checked.stderr.includes(join(own.logbook, 'damaged')), checked.stderr)
  const printed = await own.run(['cat', '1:/home/lab/data', '--json'])
  assert.equal(printed.status, 0)
})

async function damageLargestPack(logbook: string): Promise<void> {
  const names = await readdir(join(logbook, 'data'), { recursive: true })
  const packs = await Promise.all(
    names
      .filter((name) => /[0-9a-f]{64}$/.test(name))
      .map(async (name) => ({
        path: join(logbook, 'data', name),
        bytes: await readFile(join(logbook, 'data', name)),
      })),
  )
  const [largest] = packs.toSorted((left, right) => right.bytes.length - left.bytes.length)
  assert.ok(largest)
  largest.bytes[1000] = (largest.bytes[1000] ?? 0) ^ 1
  await chmod(largest.path, 0o600)
  await writeFile(largest.path, largest.bytes)
}
