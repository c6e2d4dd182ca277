// Entries from one logbook into another: by ours and by stock restic, killed at any moment, and never onto itself.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openTestHome, well } from '../cli.ts'
import { killCopies } from '../copy-kill.ts'
import { addEntry } from '../entries.ts'
import { execRestic, openResticPeer, resticProgram } from '../restic-peer.ts'
import { startSshd } from '../sshd.ts'
import { noise } from '../store-fixture.ts'

const at = (day: number) => `2026-11-${String(day).padStart(2, '0')}T10:00:00Z`

test('what stock restic saved is copied into a logbook that cuts as it does, and restic finds nothing left to copy', async () => {
  using peer = await openResticPeer('0.19')
  writeFileSync(join(peer.folder, 'a'), noise(3_000_000, 'a'))
  writeFileSync(join(peer.folder, 'b'), noise(20_000, 'b'))
  peer.run('backup', 'a', '--tag', 'one')
  peer.run('backup', 'a', 'b', '--tag', 'two,more')
  await using home = await openTestHome({ logbook: false })
  const passwordFile = join(home.home, 'peer')
  writeFileSync(passwordFile, peer.password)
  // With a key of this computer's own it is ours: nothing is marked as somebody else's.
  await well(home, 'key', 'add', '--logbook', peer.repository, '--password-file', passwordFile)
  await well(home, 'init', home.logbook, '--like', peer.repository, '--password-file', passwordFile)
  await well(home, 'copy', '--all', '--from', peer.repository, '--to', home.logbook)

  const restic = (...args: readonly string[]) =>
    execFileSync(resticProgram('0.19'), [...args, '--no-cache'], {
      cwd: peer.folder,
      env: { ...process.env, RESTIC_PASSWORD_FILE: passwordFile, RESTIC_REPOSITORY: home.logbook },
      stdio: 'pipe',
    }).toString()
  assert.match(restic('check', '--read-data'), /no errors were found/)
  assert.deepEqual(
    snapshotsIn(restic('snapshots', '--json')),
    snapshotsIn(peer.run('snapshots', '--json').toString()),
  )
  const fromPeer = ['--from-repo', peer.repository, '--from-password-file', passwordFile]
  assert.doesNotMatch(restic('copy', ...fromPeer), /saved, copied from/)
  // Cut alike: the same file, saved here anew, is all known.
  assert.match(restic('backup', 'a', '--force', '--json'), /"data_blobs":0,/)
})

test('what restic 0.14 saved is copied as well', async () => {
  using peer = await openResticPeer('0.14')
  writeFileSync(join(peer.folder, 'a'), noise(900_000, 'a'))
  peer.run('backup', 'a')
  await using home = await openTestHome()
  writeFileSync(join(home.home, 'peer'), peer.password)
  await well(
    home,
    'copy',
    '--all',
    '--from',
    peer.repository,
    '--password-file',
    'peer',
    '--to',
    home.logbook,
  )
  assert.match((await well(home, 'ls', '@latest:/', '--recursive')).stdout, /\/a$/m)
  execRestic(home, home.logbook, 'check', '--read-data')
})

test('what restic copied out of a logbook is there already for us, and the rest is added to it', async () => {
  await using home = await openTestHome()
  for (const day of [1, 2, 3])
    await addEntry(home, {
      title: `fit ${day}`,
      at: at(day),
      files: { '/home/lab/a': `${day}\n`, '/home/lab/big': noise(400_000, `${day}`).toString('latin1') },
    })
  using peer = await openResticPeer('0.19')
  writeFileSync(join(home.home, 'peer'), peer.password)
  peer.run('copy', '--from-repo', home.logbook, '--from-password-file', home.passwordFile, 'latest')
  const copied = await well(
    home,
    'copy',
    '--all',
    '--to',
    peer.repository,
    '--to-password-file',
    'peer',
    '--json',
  )
  const { entries } = lastJson(copied.stdout) as { entries: { number: number; outcome: string }[] }
  assert.deepEqual(
    new Map(entries.map(({ number, outcome }) => [number, outcome])),
    new Map([
      [3, 'there'],
      [1, 'copied'],
      [2, 'copied'],
    ]),
  )
  peer.run('check', '--read-data')
  const log = await well(home, 'log', '--logbook', peer.repository, '--password-file', 'peer', '--json')
  const own = await well(home, 'log', '--json')
  const lines = (text: string) =>
    (JSON.parse(text) as { entries: { id: string; number: number; title: string }[] }).entries.map(
      ({ id, number, title }) => ({ id, number, title }),
    )
  assert.deepEqual(lines(log.stdout), lines(own.stdout))
  // And back from there, into nothing that is new.
  const back = await home.run(['copy', '--all', '--from', peer.repository, '--to', home.logbook], {
    env: { VML_PASSWORD_FILE: join(home.home, 'peer') },
  })
  assert.match(back.stderr, /Copied 0 of 3 entries/)
})

test('a logbook is not copied to itself, and nothing is guessed', async () => {
  await using home = await openTestHome()
  await addEntry(home, { title: 'fit', at: at(1), files: { '/home/lab/a': 'one\n' } })
  const refused = async (words: readonly string[], status: number, told: RegExp) => {
    const outcome = await home.run(['copy', ...words])
    assert.equal(outcome.status, status, outcome.stderr)
    assert.match(outcome.stderr, told)
  }
  await refused(['--all', '--to', home.logbook], 2, /one logbook.*\n.*the file of the same name/)
  await refused(['--all'], 2, /--to/)
  await refused(['--to', 'nowhere'], 2, /which entries/)
  await refused(['1', '--all', '--to', 'nowhere'], 2, /both/)
  await refused(['--all', '--to', 'nowhere'], 10, /no logbook/)
  await well(home, 'init', 'second', '--like', home.logbook, '--password-file', home.passwordFile)
  await refused(['2', '--to', 'second'], 4, /Cannot find/)
  await refused(['1:/home', '--to', 'second'], 2, /whole/)
  const dry = await well(home, 'copy', '1', '--to', 'second', '--dry-run')
  assert.match(dry.stdout, /would be copied/)
  assert.deepEqual(JSON.parse((await well(home, 'log', '--logbook', 'second', '--json')).stdout).entries, [])

  // What cannot even be listed was meant as well: the rest is copied, and that is no success.
  const { id } = await addEntry(home, { title: 'lost', at: at(2), files: { '/home/lab/a': 'two\n' } })
  writeFileSync(join(home.logbook, 'snapshots', id), 'damaged')
  rmSync(join(home.home, '.cache'), { recursive: true })
  const partly = await home.run(['copy', '--all', '--to', 'second'])
  assert.equal(partly.status, 20, partly.stderr)
  assert.match(partly.stdout, /#1 {2}copied/)
  assert.match(partly.stderr, /left out/)
})

test('the password of the target comes from this computer, a file or a variable, and a wrong one is told', async () => {
  await using home = await openTestHome()
  await using other = await openTestHome({ logbook: false })
  await addEntry(home, { title: 'fit', at: at(1), files: { '/home/lab/a': 'one\n' } })
  writeFileSync(join(other.home, 'pw'), 'password of the other\n')
  await well(other, 'init', other.logbook, '--password-file', 'pw')
  const to = ['copy', '1', '--to', other.logbook]
  assert.equal((await home.run(to)).status, 12)
  assert.equal((await home.run([...to, '--to-password-file', home.passwordFile])).status, 12)
  const copied = await home.run(to, { env: { VML_TO_PASSWORD_FILE: join(other.home, 'pw') } })
  assert.equal(copied.status, 0, copied.stderr)
  assert.match(
    (await well(home, ...to, '--to-password-file', join(other.home, 'pw'))).stdout,
    /there already/,
  )
  // Once this computer has a key for it, nothing is asked.
  await well(home, 'key', 'add', '--logbook', other.logbook, '--password-file', join(other.home, 'pw'))
  assert.match((await well(home, ...to)).stdout, /there already/)
  // What comes from a logbook that this computer has no key to is somebody else's.
  await using third = await openTestHome()
  await well(
    third,
    'copy',
    '--all',
    '--from',
    other.logbook,
    '--password-file',
    join(other.home, 'pw'),
    '--to',
    third.logbook,
  )
  const shown = execFileSync(
    resticProgram('0.19'),
    ['-r', third.logbook, '--no-cache', 'snapshots', '--json'],
    {
      env: { ...process.env, RESTIC_PASSWORD_FILE: third.passwordFile },
    },
  ).toString()
  assert.match(shown, /vml:imported/)
})

test('from a host that ssh reaches, and to it, a copy goes as to any folder', async () => {
  await using sshd = await startSshd({ config: ['Subsystem sftp internal-sftp'] })
  await using home = await openTestHome()
  for (const day of [1, 2])
    await addEntry(home, {
      title: `fit ${day}`,
      at: at(day),
      files: Object.fromEntries(
        Array.from({ length: 60 }, (_, file) => [
          `/home/lab/${file}`,
          noise(file === 0 ? 3_000_000 : 900, `${day} ${file}`).toString('latin1'),
        ]),
      ),
    })
  const place = join(home.home, 'far')
  const far = `sftp:${sshd.user}@${sshd.host}:${place}`
  const env = { VML_SSH_CONFIG: sshd.sshConfigFile }
  const over = async (...args: readonly string[]) => {
    const outcome = await home.run(args, { env })
    assert.equal(outcome.status, 0, outcome.stderr)
    return outcome
  }
  await over('init', far, '--like', home.logbook, '--password-file', home.passwordFile)
  assert.match((await over('copy', '--all', '--to', far)).stderr, /Copied 2 of 2/)
  assert.match(execRestic(home, place, 'check', '--read-data'), /no errors were found/)
  await over('init', 'back', '--like', far, '--password-file', home.passwordFile)
  assert.match((await over('copy', '--all', '--from', far, '--to', 'back')).stderr, /Copied 2 of 2/)
  const [there, back] = [place, join(home.home, 'back')].map((path) =>
    snapshotsIn(execRestic(home, path, 'snapshots', '--json')),
  )
  assert.deepEqual(back, there)
  assert.match(execRestic(home, join(home.home, 'back'), 'check', '--read-data'), /no errors were found/)
})

test('killed at calls of the backend, a copy shows whole entries only, and the next one ends it (Y5)', async (context) => {
  const { kills, points, whole } = await killCopies(11)
  context.diagnostic(`${kills} kills at ${points} points, ${whole} entries were whole at them`)
  assert.ok(kills >= 4)
})

/** What is the same wherever an entry is. */
function snapshotsIn(json: string) {
  const all = JSON.parse(json) as (Record<string, unknown> & {
    readonly id: string
    readonly original?: string
  })[]
  return all
    .map(({ id, original, tree, time, paths, tags }) => ({ id: original ?? id, tree, time, paths, tags }))
    .sort((left, right) => (left.id < right.id ? -1 : 1))
}

function lastJson(text: string): unknown {
  return JSON.parse(text.trimEnd().split('\n').at(-1) ?? '')
}
