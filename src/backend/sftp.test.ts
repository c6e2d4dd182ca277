import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { testBackend } from '../../test/conformance/backend.ts'
import { patientClock } from '../../test/patient-clock.ts'
import { type Sshd, startSshd } from '../../test/sshd.ts'
import { isFailure, systemErrorCode } from '../base/failure.ts'
import { silentReporter } from '../base/progress.ts'
import { encodePacket, packetType } from '../wire/sftp-packets.ts'
import type { Backend } from './backend.ts'
import { openRetrying } from './retrying.ts'
import { formatSftpLocation, parseSftpLocation } from './sftp-location.ts'
import { openSftpBackend } from './sftp.ts'

// One as OpenSSH has it, and one without what OpenSSH adds to the protocol, as other servers are.
const servers = {
  sftp: 'internal-sftp',
  'sftp without extensions': 'internal-sftp -P hardlink,fsync,limits,statvfs,posix-rename',
} as const
type Server = keyof typeof servers
const running = new Map<Server, Sshd>()

before(async () => {
  for (const name of ['sftp', 'sftp without extensions'] as const)
    running.set(name, await startSshd({ config: [`Subsystem sftp ${servers[name]}`] }))
})
after(async () => {
  for (const sshd of running.values()) await sshd[Symbol.asyncDispose]()
})

interface Place extends AsyncDisposable {
  readonly root: string
  readonly address: string
  readonly driver: { readonly sshConfig: string }
  open(): Backend
}

function makePlace(name: Server): Place {
  const sshd = running.get(name)
  assert.ok(sshd)
  return placeOn(sshd)
}

function placeOn({ user, host, port, sshConfigFile }: Sshd): Place {
  const folder = mkdtempSync(join(tmpdir(), 'vml-sftp-'))
  const root = join(folder, 'repository')
  const location = { address: { user, host, port }, path: root }
  const opened: Backend[] = []
  return {
    root,
    address: formatSftpLocation(location),
    driver: { sshConfig: sshConfigFile },
    open: () => {
      const backend = openSftpBackend(location, { configFile: sshConfigFile })
      opened.push(backend)
      return backend
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(opened.map(async (backend) => await backend[Symbol.asyncDispose]()))
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

testBackend('sftp', async () => makePlace('sftp'), { reachable: true })
testBackend('sftp without extensions', async () => makePlace('sftp without extensions'), { reachable: false })

const name = 'ab'.repeat(32)

test('only the owner can enter and read what sftp makes', async () => {
  await using place = makePlace('sftp')
  const backend = place.open()
  await backend.create()
  await backend.put({ kind: 'pack', name }, Buffer.from('x'))
  const modes = ['', 'data', 'data/ab', 'keys', 'tmp', `data/ab/${name}`].map(
    (path) => statSync(join(place.root, path)).mode & 0o777,
  )
  assert.deepEqual(modes, [0o700, 0o700, 0o700, 0o700, 0o700, 0o600])
})

test('a put leaves no temporary name, and sweeps what a kill left long ago', async () => {
  await using place = makePlace('sftp')
  const backend = place.open()
  await backend.create()
  const at = (file: string) => join(place.root, 'tmp', file)
  const [left, young, foreign] = [
    `vml-put-${'0'.repeat(16)}`,
    `vml-put-${'1'.repeat(16)}`,
    'of-another-program',
  ]
  for (const file of [left, young, foreign]) writeFileSync(at(file), 'half')
  for (const file of [left, foreign]) utimesSync(at(file), 1, 1)
  await backend.put({ kind: 'pack', name }, Buffer.from('x'))
  await assert.rejects(backend.put({ kind: 'pack', name }, Buffer.from('y')), { code: 'exists' })
  await backend[Symbol.asyncDispose]()
  assert.deepEqual(readdirSync(join(place.root, 'tmp')).toSorted(), [foreign, young])
})

test('a repository without tmp/ and with few of its folders is written to; a folder that is gone is no empty one', async () => {
  await using place = makePlace('sftp')
  const backend = place.open()
  await backend.create()
  await backend.put({ kind: 'config', name: '' }, Buffer.from('x'))
  for (const path of ['tmp', 'data/ab', 'snapshots']) rmSync(join(place.root, path), { recursive: true })
  await backend.put({ kind: 'pack', name }, Buffer.from('x'))
  assert.deepEqual(await Array.fromAsync(backend.list('snapshot')), [])
  await backend.put({ kind: 'snapshot', name }, Buffer.from('x'))
  assert.deepEqual(await Array.fromAsync(backend.list('snapshot')), [{ name, size: 1 }])

  rmSync(place.root, { recursive: true })
  await assert.rejects(Array.fromAsync(backend.list('snapshot')), { code: 'not-found' })
  await assert.rejects(backend.put({ kind: 'pack', name }, Buffer.from('x')), { code: 'not-found' })
})

test('a line that breaks during a put is told as such, and the next call connects again', async () => {
  await using sshd = await startSshd({ config: ['Subsystem sftp internal-sftp'] })
  await using place = placeOn(sshd)
  const backend = place.open()
  await backend.create()
  const data = randomBytes(32 * 1024 * 1024)
  const putting = backend.put({ kind: 'pack', name }, data)
  await grown(join(place.root, 'tmp'))
  endSessions(sshd.pid)
  await assert.rejects(putting, { code: 'unavailable.network' })
  assert.equal(await backend.size({ kind: 'pack', name }), undefined)

  const patient = openRetrying(backend, {
    clock: patientClock(),
    random: () => 0.5,
    reporter: silentReporter,
  })
  const again = patient.put({ kind: 'pack', name }, data)
  await grown(join(place.root, 'tmp'))
  endSessions(sshd.pid)
  await again
  assert.deepEqual(readFileSync(join(place.root, 'data/ab', name)), data)
})

test('a full disk is told as such and leaves nothing behind', async () => {
  await using place = makePlace('sftp')
  mkdirSync(place.root)
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', place.root])
  try {
    const backend = place.open()
    await backend.create()
    const put = backend.put({ kind: 'pack', name }, Buffer.alloc(4 * 1024 * 1024))
    await assert.rejects(put, { code: 'unavailable.space' })
    await backend[Symbol.asyncDispose]()
    assert.deepEqual(readdirSync(join(place.root, 'tmp')), [])
    assert.deepEqual(await Array.fromAsync(place.open().list('pack')), [])
  } finally {
    // A session of the server may be just ending, in it.
    execFileSync('umount', ['--lazy', place.root])
  }
})

test('a folder with something else in it takes no repository', async () => {
  await using place = makePlace('sftp')
  mkdirSync(place.root)
  writeFileSync(join(place.root, 'thesis.tex'), 'x')
  await assert.rejects(place.open().create(), { code: 'exists' })
  assert.deepEqual(readdirSync(place.root), ['thesis.tex'])
})

test('names that are not 64 hex digits never become paths', async () => {
  await using place = makePlace('sftp')
  const backend = place.open()
  await backend.create()
  await assert.rejects(backend.put({ kind: 'pack', name: '../../escape' }, Buffer.from('x')), TypeError)
  writeFileSync(join(place.root, 'snapshots', 'notes.txt'), 'x')
  mkdirSync(join(place.root, 'snapshots', name))
  assert.deepEqual(await Array.fromAsync(backend.list('snapshot')), [])
})

test('a host that offers no sftp, or answers with something else, is told with what to do', async () => {
  const cases = [
    [[], 'unsupported', /Subsystem sftp/],
    [['Subsystem sftp echo welcome to this host, dear user'], 'remote.protocol', /start-up files/],
    [['Subsystem sftp true'], 'unavailable.network', /./],
  ] as const
  for (const [config, code, hint] of cases) {
    await using sshd = await startSshd({ config })
    await using place = placeOn(sshd)
    const error: unknown = await place
      .open()
      .size({ kind: 'config', name: '' })
      .catch((failure: unknown) => failure)
    assert.ok(error instanceof Error && 'code' in error && 'hint' in error)
    assert.equal(error.code, code)
    assert.match(String(error.hint), hint)
  }
})

test('a server that answers against the protocol is told, and neither believed nor waited for', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'vml-answers-'))
  try {
    const version = encodePacket(packetType.version, [3])
    const answers = {
      'an old version': encodePacket(packetType.version, [2]),
      'no version': encodePacket(packetType.status, [1, 0, '', '']),
      'a packet of no length': Buffer.from([0, 0, 0, 0, 1]),
      'another number': Buffer.concat([version, encodePacket(packetType.attributes, [77, 1, 5n])]),
      'another type': Buffer.concat([version, encodePacket(packetType.data, [1, 'x'])]),
      'a cut packet': Buffer.concat([
        version,
        encodePacket(packetType.attributes, [1, 1, 5n]).subarray(0, 12),
      ]),
      'a packet that is shorter than it says': Buffer.concat([
        version,
        encodePacket(packetType.attributes, [1, 1]),
      ]),
    }
    const file = join(folder, 'answer')
    await using sshd = await startSshd({ config: [`Subsystem sftp cat ${file}; cat >/dev/null`] })
    for (const [what, bytes] of Object.entries(answers)) {
      writeFileSync(file, bytes)
      await using place = placeOn(sshd)
      const asked = place.open().size({ kind: 'config', name: '' })
      // Where it has said too little, it must end for that to be known.
      const timer = setInterval(() => endSessions(sshd.pid), 500)
      try {
        await assert.rejects(
          asked,
          (error) => isFailure(error, 'remote.protocol', 'unavailable.network'),
          what,
        )
      } finally {
        clearInterval(timer)
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('locations are read as restic reads them, and nothing in one becomes an option of ssh', () => {
  const good: readonly (readonly [string, string, ReturnType<typeof parseSftpLocation>])[] = [
    [
      'sftp:ana@nas:/srv/book',
      'sftp:ana@nas:/srv/book',
      { address: { user: 'ana', host: 'nas' }, path: '/srv/book' },
    ],
    ['sftp:nas:book/', 'sftp:nas:book', { address: { host: 'nas' }, path: 'book' }],
    [
      'sftp:ana@corp.example@nas:/b',
      'sftp:ana@corp.example@nas:/b',
      { address: { user: 'ana@corp.example', host: 'nas' }, path: '/b' },
    ],
    ['sftp://nas/book', 'sftp:nas:book', { address: { host: 'nas' }, path: 'book' }],
    [
      'sftp://ana@[::1]:2222//srv/a%20b',
      'sftp://ana@[::1]:2222//srv/a b',
      { address: { user: 'ana', host: '::1', port: 2222 }, path: '/srv/a b' },
    ],
  ]
  for (const [text, shown, location] of good) {
    assert.deepEqual(parseSftpLocation(text), location)
    assert.equal(formatSftpLocation(location), shown)
  }
  const bad = [
    'sftp:',
    'sftp:nas',
    'sftp:nas:',
    'sftp:-oProxyCommand=x:/b',
    'sftp:-l@nas:/b',
    'sftp:a b@nas:/b',
    'sftp:$(id)@nas:/b',
    'sftp://nas:0//b',
    'sftp://nas:99999//b',
    'sftp://nas',
    'sftp:nas:~/b',
    'sftp://ana:secret@nas//b',
    'sftp://nas//%zz',
  ]
  for (const text of bad)
    assert.throws(
      () => parseSftpLocation(text),
      (error) =>
        error instanceof Error && 'code' in error && error.code === 'usage' && !/secret/.test(error.message),
      text,
    )
})

/** Waits until something of a put lies in the folder. */
async function grown(folder: string): Promise<void> {
  for (let tries = 0; tries < 2000; tries++) {
    const sizes = readdirSync(folder).map(
      (file) => statSync(join(folder, file), { throwIfNoEntry: false })?.size ?? 0,
    )
    if (sizes.some((size) => size > 0)) return
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  throw new Error('Nothing arrived')
}

/** Ends what the server started for its guests, not the server. */
function endSessions(server: number): void {
  const children = readFileSync(`/proc/${server}/task/${server}/children`, 'utf8')
  for (const pid of children.split(' ').filter((word) => word !== '')) {
    try {
      process.kill(Number(pid), 'SIGKILL')
    } catch (error) {
      if (systemErrorCode(error) !== 'ESRCH') throw error
    }
  }
}
