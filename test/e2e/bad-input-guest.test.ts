// A guest whose output is hostile: it is refused or kept as bytes, in bounded time, and never reaches a terminal as it is.
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { openTestHome, type TestHome, type VmlOutcome } from '../cli.ts'
import { startSshd } from '../sshd.ts'
import { type HostileMachine, startHostileMachine } from './hostile-machine.ts'
import { assertPrintable, assertRefused, digestOf } from './refusals.ts'
import { sh } from './nasty-tree.ts'

let home: TestHome
let machine: HostileMachine

/** A title for the window, red text, a cleared screen, and text that runs backwards. */
const escapes = String.raw`$'\e]0;owned\a\e[31m\e[2J\u202e\r'`

before(async () => {
  home = await openTestHome()
  machine = await startHostileMachine()
  writeFileSync(join(machine.work, 'plain'), 'of the guest\n')
  ok(await vml(['machine', 'add', 'lab', machine.address]))
})
after(async () => {
  await machine[Symbol.asyncDispose]()
  await home[Symbol.asyncDispose]()
})

const vml: TestHome['run'] = (args, options) => machine.vml(home, args, options)

function ok(outcome: VmlOutcome): VmlOutcome {
  assert.equal(outcome.status, 0, outcome.stderr)
  return outcome
}

/** The walk itself, not the questions about which find this is. */
const walkOnly = 'case "$*" in *"maxdepth 0"*|"/ -xdev"*) real "$@"; exit ;; esac'
const packOnly = 'case "$*" in *--version*|*/dev/null*) real "$@"; exit ;; esac'
const millionBytes = 'head -c 1000000 /dev/zero | tr "\\000" x'

test('tools that send what is no answer are not believed, and nothing is stored', async () => {
  const lies: readonly (readonly [string, string, RegExp])[] = [
    ['find', `${walkOnly}; ${millionBytes}; ${millionBytes}`, /Cannot understand/],
    ['find', `${walkOnly}; yes $(printf '\\033[31m')`, /Cannot understand/],
    ['find', `${walkOnly}; head -c 5000000 /dev/urandom`, /Cannot understand/],
    ['find', `${walkOnly}; { ${millionBytes}; printf '\\033[31m\\n'; } >&2; exit 1`, /Cannot/],
    ['tar', `${packOnly}; head -c 5000000 /dev/urandom`, /Cannot understand/],
    ['tar', `${packOnly}; ${millionBytes}`, /Cannot understand/],
    ['tar', `${packOnly}; real -c -f - /etc/passwd 2>/dev/null`, /Cannot understand/],
  ]
  const before = await readdir(join(home.logbook, 'snapshots'))
  try {
    for (const [tool, script, saying] of lies) {
      machine.lie(tool, script)
      assertRefused(await vml(['save', 'lab', '--only', machine.work]), { status: 40, saying })
      machine.honest()
    }
  } finally {
    machine.honest()
  }
  assert.deepEqual(await readdir(join(home.logbook, 'snapshots')), before)
  assert.deepEqual(await readdir(join(home.logbook, 'locks')), [])
  ok(await home.run(['check']))
})

test('a find that never ends is ended with the save, on both sides', async () => {
  const mark = join(machine.folder, 'pid')
  machine.lie('find', `${walkOnly}; echo $$ > ${mark}; exec sleep 3600`)
  try {
    const cancel = new AbortController()
    const saving = vml(['save', 'lab', '--only', machine.work], { signal: cancel.signal }).catch(() => {})
    for (let tries = 0; tries < 1200 && !pidIn(mark); tries++) await sleep(50)
    const pid = pidIn(mark)
    assert.ok(pid > 0)
    cancel.abort()
    await saving
    for (let tries = 0; tries < 1200 && isAlive(pid); tries++) await sleep(50)
    assert.ok(!isAlive(pid), 'the find of the guest is still there')
  } finally {
    machine.honest()
  }
})

test('a login shell that prints junk before every command does not reach what is saved', async () => {
  const junk = `${millionBytes} >&2; printf '\\033]0;owned\\007welcome\\n'; ${millionBytes}; echo`
  await using sshd = await startSshd({ config: [`ForceCommand ${junk}; exec sh -c "$SSH_ORIGINAL_COMMAND"`] })
  const env = { VML_SSH_CONFIG: sshd.sshConfigFile }
  ok(await home.run(['machine', 'add', 'chatty', `ssh://${sshd.user}@127.0.0.1:${sshd.port}`]))
  const saved = await home.run(['save', 'chatty', '-m', 'chatty', '--only', machine.work], { env })
  assertPrintable(saved)
  if (saved.status !== 0) {
    // A machine that talks this much may be refused, but by name.
    assertRefused(saved, { status: 40, saying: /chatty|127\.0\.0\.1/ })
    return
  }
  const target = join(home.home, 'out')
  ok(await home.run(['restore', '@latest', '--to', target]))
  assert.equal(readFileSync(join(target, machine.work, 'plain'), 'utf8'), 'of the guest\n')
  await rm(target, { recursive: true })
})

test('names and messages with terminal escapes are kept as bytes and shown escaped', async () => {
  sh(
    machine.work,
    `e=${escapes}; mkdir "d$e"; echo text > "d$e/f$e"; ln -s "to$e" "l$e"
     python3 -c 'import socket,sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "s$e"`,
  )
  // What the machine says of a file that it could not read goes into the entry and to the terminal.
  machine.lie(
    'tar',
    `${packOnly}; real "$@"; s=$?; printf 'tar: %s\\033[31m\\r: Cannot open: \\033]0;x\\007\\n' plain >&2; exit $s`,
  )
  const saved = await vml(['save', 'lab', '-m', 'escapes', '--full', '--only', machine.work])
  machine.honest()
  assertPrintable(saved)
  assert.ok([0, 3].includes(saved.status), saved.stderr)
  sh(machine.work, `e=${escapes}; echo more >> "d$e/f$e"; echo new > "n$e"`)
  const target = join(home.home, 'out')
  const runs = [
    ['save', 'lab', '-m', 'again', '--only', machine.work],
    ['ls', '@latest', '-l'],
    ['ls', `@latest:${machine.work}`, '-R'],
    ['show', '@latest'],
    ['log'],
    ['diff', '@-1', '@latest'],
    ['status', 'lab'],
    ['find', '*owned*'],
    ['restore', '@latest', '--dry-run'],
    ['restore', '@-1', '--to', target],
    ['share', '@latest', '-o', join(home.home, 'x.vml')],
    ['import', join(home.home, 'x.vml'), '--dry-run'],
    ['diff', '@-1', '@latest', '--json'],
  ]
  for (const args of runs) {
    const outcome = await vml(args)
    assertPrintable(outcome)
    assert.notEqual(outcome.status, 2, `${args.join(' ')}: ${outcome.stderr}`)
    assert.notEqual(outcome.status, 70, `${args.join(' ')}: ${outcome.stderr}`)
  }
  assert.equal(sh(join(target, machine.work), `e=${escapes}; cat "d$e/f$e"`), 'text\n')
  await rm(target, { recursive: true })
})

test('a disk that is full on the machine stops a restore by name, and what is beside the target stays', async () => {
  const small = join(machine.work, 'small')
  sh(machine.work, 'mkdir small; head -c 3000000 /dev/urandom > small/big; echo was > small/note')
  const [, number = ''] =
    /#(\d+)/.exec(ok(await vml(['save', 'lab', '-m', 'big', '--only', small])).stdout) ?? []
  sh(machine.work, 'rm -r small; mkdir small; mount -t tmpfs -o size=1m tmpfs small; echo now > small/note')
  try {
    const beside = digestOf(join(machine.work, '..', '..', 'busybox'))
    assertRefused(await vml(['restore', number]), {
      status: 31,
      saying: /is full[^]*kept in entry #[^]*again/,
    })
    assert.equal(digestOf(join(machine.work, '..', '..', 'busybox')), beside)
    ok(await home.run(['check']))
  } finally {
    sh(machine.work, 'umount small')
  }
  ok(await vml(['restore', number]))
  assert.equal(readFileSync(join(small, 'note'), 'utf8'), 'was\n')
})

test('a disk that is full under the logbook stops a save by name; the entries before are whole', async () => {
  const small = join(home.home, 'small')
  sh(home.home, 'mkdir small; mount -t tmpfs -o size=3m tmpfs small')
  try {
    const logbook = join(small, 'logbook')
    const env = { VML_LOGBOOK: logbook, VML_PASSWORD_FILE: home.passwordFile }
    ok(await vml(['init', logbook, '--password-file', home.passwordFile]))
    sh(machine.work, 'mkdir data; echo first > data/first')
    const data = join(machine.work, 'data')
    ok(await vml(['save', 'lab', '-m', 'fits', '--only', data], { env }))
    sh(data, 'head -c 8000000 /dev/urandom > large')
    const before = await readdir(join(logbook, 'snapshots'))
    assertRefused(await vml(['save', 'lab', '-m', 'too large', '--only', data], { env }), {
      status: 31,
      saying: /space[^]*(again|repeat)/,
    })
    assert.deepEqual(await readdir(join(logbook, 'snapshots')), before)
    assert.deepEqual(await readdir(join(logbook, 'locks')), [])
    const target = join(home.home, 'out')
    ok(await vml(['check', '--read-data'], { env }))
    ok(await vml(['restore', '@latest', '--to', target], { env }))
    assert.equal(readFileSync(join(target, data, 'first'), 'utf8'), 'first\n')
    // The receiving folder can be full as well.
    sh(data, 'rm large; head -c 300000 /dev/urandom > middle')
    ok(await vml(['save', 'lab', '-m', 'middle', '--only', data], { env }))
    sh(home.home, 'mkdir tight; mount -t tmpfs -o size=64k tmpfs tight')
    try {
      const full = await vml(['restore', '@latest', '--to', join(home.home, 'tight/out')], { env })
      assertRefused(full, { status: 31, saying: /is full[^]*not whole/ })
      const tar = await vml(['restore', '@latest', '--to', join(home.home, 'tight/out.tar')], { env })
      assertRefused(tar, { status: 31, saying: /space/ })
      const share = await vml(['share', '@latest', '-o', join(home.home, 'tight/out.vml')], { env })
      assertRefused(share, { status: 31, saying: /space/ })
      assert.deepEqual(
        (await readdir(join(home.home, 'tight'))).filter((name) => name !== 'out'),
        [],
      )
    } finally {
      sh(home.home, 'umount tight')
    }
  } finally {
    sh(home.home, 'umount small')
  }
})

function pidIn(file: string): number {
  try {
    return Number(readFileSync(file, 'utf8'))
  } catch {
    return 0
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
