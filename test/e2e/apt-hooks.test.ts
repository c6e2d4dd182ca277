// The hooks under the real apt and dpkg, with a stand-in for VML: what they call, what they leave alone, and what they do half removed.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { after, afterEach, beforeEach, describe, test } from 'node:test'
import { findHooks, hookFiles, installHooks, removeHooks } from '../../src/packages/apt-hooks.ts'
import { parseAptPlan } from '../../src/packages/apt-plan.ts'
import { hooksInUse } from '../../src/packages/apt-settings.ts'
import { parseHookCall, readFrontend, readKeptCalls } from '../../src/packages/hook-calls.ts'
import { isFailure } from '../../src/base/failure.ts'
import {
  enterScript,
  publish,
  putStandIn,
  shellOf,
  standIn,
  takeLog,
  treeDifference,
  wholeTree,
} from '../apt-hooks-fixture.ts'
import { openChroot, type RunResult } from '../chroot.ts'

const root = await openChroot()
after(async () => await root[Symbol.asyncDispose]())
const files = hookFiles({ program: [standIn], servicePolicy: '#!/bin/sh\nexit 101\n' })

await publish(root, [
  { name: 'alpha', version: '1' },
  { name: 'beta', version: '1', control: 'Depends: alpha\n' },
  {
    name: 'choosy',
    version: '1',
    postinst: '[ ! -e /var/lib/vml/inside ] || { echo not here >&2; exit 7; }',
  },
])
copyFileSync('/usr/bin/busybox', join(root.path, 'usr/bin/busybox'))
const untouched = wholeTree(root)

const at = (path: string) => join(root.path, path)
const run = (...argv: readonly string[]) => root.run(argv, { mayFail: true })
const sh = (script: string) => run('sh', '-c', script)
/** In a mount namespace of its own, in which `before` was done. */
const runAfter = (before: string, ...argv: readonly string[]) =>
  run('unshare', '-m', 'sh', '-c', `${before} && exec "$@"`, 'sh', ...argv)
const apt = (...words: readonly string[]) => run('apt-get', '-y', '-q', ...words)
const dpkg = (...words: readonly string[]) => run('dpkg', ...words)
const alphaFile = '/srv/tiny/alpha_1_all.deb'
const has = (name: string) => existsSync(at(`usr/share/${name}/file`))
async function passed(asked: Promise<RunResult>): Promise<RunResult> {
  const outcome = await asked
  assert.equal(outcome.status, 0, outcome.stdout + outcome.stderr)
  return outcome
}
const set = (name: string, text = '') => writeFileSync(at(`opt/tried/${name}`), text)

beforeEach(async () => {
  putStandIn(root)
  set('enter', enterScript)
  await installHooks(root.path, files)
})

afterEach(async () => {
  await removeHooks(root.path)
  for (const folder of ['opt/tried', 'var/lib/vml', 'usr/lib/vml'])
    rmSync(at(folder), { recursive: true, force: true })
  await passed(dpkg('--purge', '--force-all', 'alpha', 'beta', 'choosy'))
})

describe('a run of apt in a stage', () => {
  beforeEach(() => set('staged'))

  for (const [name, before] of [
    ['dash', 'true'],
    ['busybox', 'mount --bind /bin/busybox /bin/sh'],
  ] as const)
    test(`has each dpkg of its own work in the stage, and leaves the system as it was, with the sh of ${name}`, async () => {
      await passed(runAfter(before, 'apt-get', '-y', '-q', 'install', 'beta'))
      assert.equal(has('alpha') || has('beta'), false)
      assert.ok(existsSync(at('var/lib/vml/ended/upper/usr/share/beta/file')))
      assert.deepEqual(takeLog(root), ['begin', 'end'])
      const calls = await readKeptCalls(at('var/lib/vml/ended'))
      assert.ok(calls.length >= 2)
      assert.ok(
        calls.some(({ argv }) =>
          argv.join(' ').includes('--unpack --auto-deconfigure /srv/tiny/./alpha_1_all.deb'),
        ),
      )
      assert.ok(calls.every(({ status, folder }) => status === 0 && folder === '/'))
      const { actions, configuration } = parseAptPlan(readFileSync(at('var/lib/vml/ended/plan')))
      assert.deepEqual(
        actions.map(({ package: name, before: old, after: next, step }) => [
          name,
          old?.version,
          next?.version,
          step.kind,
        ]),
        ['alpha', 'beta']
          .flatMap((each) => [[each, undefined, '1', 'unpack']])
          .concat(['alpha', 'beta'].map((each) => [each, undefined, '1', 'configure'])),
      )
      assert.ok(configuration.some(({ name, value }) => name === 'Dir::Bin::dpkg' && value === 'dpkg'))
    })

  test('tells dpkg which packages shall go from within the stage, and keeps what it was told', async () => {
    await passed(dpkg('-i', alphaFile))
    takeLog(root)
    await passed(apt('purge', 'alpha'))
    assert.ok(has('alpha'))
    const calls = await readKeptCalls(at('var/lib/vml/ended'))
    assert.ok(calls.some(({ argv }) => argv.join(' ').includes('--purge ')))
    const selections = calls.find(({ argv }) => argv.some((word) => word === '--set-selections'))
    assert.equal(readFileSync(selections?.inputFile ?? '', 'latin1'), 'alpha:all purge\n')
  })

  test('asks VML when a package does not install in the stage, and ends as VML says', async () => {
    for (const status of [0, 3]) {
      set('redo-live', String(status))
      assert.equal((await apt('install', 'choosy')).status, status === 0 ? 0 : 100)
      assert.deepEqual(takeLog(root), ['begin', 'redo-live 0002 1', 'end'])
    }
  })

  test('is not done in another way when dpkg was ended by a signal', async () => {
    set('enter', 'kill -INT $$')
    assert.equal((await apt('install', 'alpha')).status, 100)
    assert.deepEqual(takeLog(root), ['begin', 'end'])
    assert.equal(has('alpha'), false)
  })

  test('asks VML when the stage cannot be entered', async () => {
    set('enter', 'exit 97')
    set('redo-live', '0')
    await passed(apt('install', 'alpha'))
    assert.deepEqual(takeLog(root), ['begin', 'redo-live 0001 97', 'redo-live 0002 97', 'end'])
  })

  test('fails when VML goes away in the middle, since what it did is not committed', async () => {
    set('enter', `rm -f ${standIn}\n${enterScript}`)
    const { status, stderr } = await apt('install', 'alpha')
    assert.equal(status, 100)
    assert.match(stderr, /vml: VML is not where it was: what this run did lies in .* and is not committed/)
    assert.equal(has('alpha'), false)
  })

  test('is refused a dpkg outside of it that would go on with what was begun inside', async () => {
    set('enter', `mv /usr/lib/vml/bin/dpkg /usr/lib/vml/moved\n${enterScript}`)
    const { status, stdout } = await apt('install', 'alpha')
    assert.equal(status, 100)
    assert.match(stdout, /vml: dpkg was called outside of the stage/)
    assert.equal(has('alpha'), false)
  })

  test('by a program that names dpkg by its path is told to VML before dpkg begins, and done without a stage', async () => {
    await passed(apt('-o', 'Dir::Bin::dpkg=/usr/bin/dpkg', 'install', 'beta'))
    assert.ok(has('alpha') && has('beta'))
    assert.deepEqual(takeLog(root), ['begin', 'live', 'end'])
    set('live', '99')
    assert.equal((await apt('-o', 'Dir::Bin::dpkg=/usr/bin/dpkg', 'purge', 'beta')).status, 100)
    set('live', '70')
    await passed(apt('-o', 'Dir::Bin::dpkg=/usr/bin/dpkg', 'purge', 'beta'))
    assert.equal(has('beta'), false)
  })

  test('by a program that has read the configuration twice is begun and ended once', async () => {
    const twice = ['begin', 'end'].flatMap((verb) => [
      '-o',
      `DPkg::${verb === 'begin' ? 'Pre' : 'Post'}-Invoke::=exec /usr/lib/vml/hook ${verb}`,
    ])
    await passed(apt(...twice, 'install', 'alpha'))
    assert.deepEqual(takeLog(root), ['begin', 'end'])
    assert.equal((await readKeptCalls(at('var/lib/vml/ended'))).length, 2)
  })

  test('within a stage that is open already opens none of its own', async () => {
    mkdirSync(at('var/lib/vml'), { recursive: true })
    writeFileSync(at('var/lib/vml/inside'), '')
    await passed(apt('install', 'beta'))
    assert.deepEqual(takeLog(root), [])
    assert.ok(has('beta'))
  })
})

describe('a stage that was left behind', () => {
  beforeEach(async () => {
    mkdirSync(at('var/lib/vml/stage/open'), { recursive: true })
    writeFileSync(at('var/lib/vml/stage/open/enter'), enterScript)
    writeFileSync(at('var/lib/vml/stage/open/frontend'), '1 1 0\n')
  })

  test('is entered by nobody when VML is gone: what apt says it installed is installed', async () => {
    rmSync(at(standIn))
    const { stderr } = await passed(apt('install', 'beta'))
    assert.ok(has('beta'))
    assert.match(stderr, /VML is not where it was: this change is not recorded/)
    assert.equal(stderr.match(/^vml:/gm)?.length, 1)
  })

  test('is entered by nobody when only the hook is gone', async () => {
    rmSync(at('usr/lib/vml/hook'))
    await passed(apt('install', 'beta'))
    assert.ok(has('beta'))
  })

  test('with a commit that was cut off is mended by the script beside it before apt goes on without VML', async () => {
    rmSync(at(standIn))
    mkdirSync(at('var/lib/vml/stage/open/journal'))
    writeFileSync(at('var/lib/vml/stage/open/journal/recover.sh'), 'touch /opt/tried/mended')
    await passed(apt('install', 'alpha'))
    assert.ok(existsSync(at('opt/tried/mended')))
    writeFileSync(at('var/lib/vml/stage/open/journal/recover.sh'), 'exit 1')
    const { status, stderr } = await apt('install', 'beta')
    assert.equal(status, 100)
    assert.match(stderr, /Cannot mend what a change that was cut off left/)
    assert.equal(has('beta'), false)
  })
})

test('a transaction that another vml is at work on is left to it, and apt changes nothing, when VML is gone', async () => {
  mkdirSync(at('var/lib/vml/stage/open/journal'), { recursive: true })
  writeFileSync(at('var/lib/vml/stage/open/enter'), enterScript)
  writeFileSync(at('var/lib/vml/stage/open/journal/recover.sh'), 'touch /opt/tried/mended')
  rmSync(at(standIn))
  const holder = root.start([
    'perl',
    '-e',
    `use Fcntl; open(my $f, "+>>", "/var/lib/vml/stage.lock") or exit 9; my $lock = pack("s s x4 q q i x4", F_WRLCK, 0, 0, 0, 0);
     fcntl($f, F_SETLK, $lock) or exit 1; $| = 1; print "x"; <STDIN>`,
  ])
  await once(holder.stdout, 'data')
  const { status, stderr } = await apt('install', 'alpha')
  assert.equal(status, 100)
  assert.match(stderr, /while another is at work on what lies in .*: nothing was changed/)
  assert.ok(existsSync(at('var/lib/vml/stage/open/enter')) && !existsSync(at('opt/tried/mended')))
  holder.stdin.end()
  await once(holder, 'close')
  await passed(apt('install', 'alpha'))
  assert.ok(existsSync(at('opt/tried/mended')))
})

describe('what VML says at the beginning', () => {
  test('stops apt and dpkg before anything is changed when it refuses, or was told to end', async () => {
    for (const status of ['99', '130']) {
      for (const verb of ['begin', 'dpkg-begin']) set(verb, status)
      assert.equal((await apt('install', 'alpha')).status, 100)
      assert.notEqual((await dpkg('-i', alphaFile)).status, 0)
      assert.equal(has('alpha'), false)
    }
  })

  test('lets apt and dpkg go on, unrecorded and told, when it is a failure', async () => {
    for (const verb of ['begin', 'dpkg-begin']) set(verb, '70')
    const { stderr } = await passed(apt('install', 'alpha'))
    assert.match(stderr, /^vml: VML failed with status 70: this change is not recorded$/m)
    assert.match((await passed(dpkg('-r', 'alpha'))).stderr, /vml: VML failed with status 70/)
  })
})

test('a dpkg that nobody else opened a transaction for begins and ends one', async () => {
  await passed(dpkg('-i', alphaFile))
  assert.deepEqual(takeLog(root), ['dpkg-begin', 'dpkg-end'])
  assert.match((await readFrontend(at('var/lib/vml/ended')))?.boot ?? '', /^[\da-f-]{36}$/)
  assert.equal(await readFrontend(at('var/lib/vml')), undefined)
})

test('apt says itself whether it takes the hooks, and what leads past them', async () => {
  const shell = shellOf(root)
  const other = (text: string) => writeFileSync(at('etc/apt/apt.conf.d/99other'), text)
  assert.deepEqual(await hooksInUse(shell), { kind: 'staged' })
  for (const [text, setting] of [
    ['Dir::Bin::dpkg "/opt/dpkg";', 'Dir::Bin::dpkg=/opt/dpkg'],
    ['dpkg::path "/bin";', 'DPkg::Path=/bin'],
    ['DPkg::Chroot-Directory "/srv";', 'DPkg::Chroot-Directory=/srv'],
  ] as const) {
    other(text)
    assert.deepEqual(await hooksInUse(shell), { kind: 'live', setting })
  }
  other('#clear DPkg::Pre-Invoke;')
  assert.deepEqual(await hooksInUse(shell), { kind: 'none' })
  other('{')
  await assert.rejects(hooksInUse(shell), (error: unknown) => isFailure(error, 'remote.command'))
  rmSync(at('etc/apt/apt.conf.d/99other'))
})

test('calls of the hooks are understood, and nothing else', async () => {
  assert.deepEqual(parseHookCall(['begin', '12']), { verb: 'begin', pid: 12 })
  assert.deepEqual(parseHookCall(['redo-live', '0002', '97']), { verb: 'redo-live', number: 2, status: 97 })
  for (const words of [[], ['begin'], ['end', '-1'], ['redo-live', '1'], ['begin', '1', '2'], ['start', '1']])
    assert.throws(
      () => parseHookCall(words),
      (error: unknown) => isFailure(error, 'usage'),
    )
})

test('what dpkg only tries, only tells, or does to the system in another folder is no transaction', async () => {
  await passed(dpkg('--no-act', '-i', alphaFile))
  await passed(dpkg('-l'))
  await passed(
    sh(
      'mkdir -p /tmp/o/var/lib/dpkg/updates /tmp/o/var/lib/dpkg/info && : >/tmp/o/var/lib/dpkg/status && dpkg --root=/tmp/o --force-all --unpack /srv/tiny/alpha_1_all.deb && [ -e /tmp/o/usr/share/alpha/file ]',
    ),
  )
  await passed(apt('install', '-s', 'alpha'))
  assert.deepEqual(takeLog(root), [])
})

test('apt of a user without rights reads the configuration, whatever umask it was written with', async () => {
  await removeHooks(root.path)
  const umask = process.umask(0o077)
  try {
    await installHooks(root.path, files)
  } finally {
    process.umask(umask)
  }
  await passed(sh('setpriv --reuid 65534 --regid 65534 --clear-groups apt-get -s install alpha'))
})

describe('hooks that are half there', () => {
  /** apt and dpkg do what they were asked for, and say that it went well. */
  const bothWork = async () => {
    await passed(apt('install', 'beta'))
    assert.ok(has('alpha') && has('beta'))
    await passed(dpkg('-P', 'beta', 'alpha'))
    assert.equal(has('alpha') || has('beta'), false)
  }
  for (const { path } of files)
    test(`let apt and dpkg work without ${path}`, async () => {
      rmSync(at(path))
      assert.equal(await findHooks(root.path, files), 'part')
      await bothWork()
    })
  const states: readonly (readonly [string, () => unknown])[] = [
    ['without their folder', () => rmSync(at('usr/lib/vml'), { recursive: true })],
    ['without the folder of dpkg', () => rmSync(at('usr/lib/vml/bin'), { recursive: true })],
    ['without VML', () => rmSync(at('opt/tried'), { recursive: true })],
    ['with programs that may not be executed', () => files.map(({ path }) => chmodSync(at(path), 0o644))],
    [
      'with a file in the place of the folder',
      () => {
        rmSync(at('usr/lib/vml'), { recursive: true })
        writeFileSync(at('usr/lib/vml'), '')
      },
    ],
    [
      'with links that lead in a circle',
      () => {
        rmSync(at('usr/lib/vml/apt.conf'))
        symlinkSync('apt.conf', at('usr/lib/vml/apt.conf'))
        rmSync(at('usr/lib/vml/dpkg.cfg'))
        symlinkSync('dpkg.cfg', at('usr/lib/vml/dpkg.cfg'))
      },
    ],
  ]
  for (const [name, spoil] of states)
    test(`let apt and dpkg work ${name}`, async () => {
      spoil()
      await bothWork()
    })
  test('let apt and dpkg work when both links stand and only the first of their files', async () => {
    for (const { path } of files.slice(3)) rmSync(at(path))
    await bothWork()
  })

  test('let apt and dpkg work where the folder of states cannot be written', async () => {
    mkdirSync(at('var/lib/vml'), { recursive: true })
    for (const verb of ['begin', 'dpkg-begin']) set(verb, '1')
    const before = 'mount --bind /var/lib/vml /var/lib/vml && mount -o remount,ro,bind /var/lib/vml'
    await passed(runAfter(before, 'apt-get', '-y', '-q', 'install', 'alpha'))
    await passed(runAfter(before, 'dpkg', '-P', 'alpha'))
  })
})

describe('hooks', () => {
  test('leave no trace when they are taken away, also what was cut off, and may be taken away twice', async () => {
    writeFileSync(at('usr/lib/vml/hook.new'), 'half')
    rmSync(at('opt/tried'), { recursive: true })
    assert.deepEqual(await removeHooks(root.path), { left: [] })
    assert.deepEqual(await removeHooks(root.path), { left: [] })
    assert.equal(await findHooks(root.path, files), 'none')
    assert.deepEqual(treeDifference(normal(untouched), normal(wholeTree(root))), [])
  })

  test('are put in place twice, and over an older version, with the same result', async () => {
    const once = wholeTree(root)
    writeFileSync(at('usr/lib/vml/hook'), 'old')
    renameSync(at('etc/apt/apt.conf.d/00vml'), at('etc/apt/apt.conf.d/01vml'))
    rmSync(at('etc/apt/apt.conf.d/01vml'))
    assert.equal(await findHooks(root.path, files), 'part')
    await installHooks(root.path, files)
    assert.equal(await findHooks(root.path, files), 'all')
    assert.deepEqual(treeDifference(once, wholeTree(root)), [])
  })

  test('that cannot be put in place are a failure with a name', async () => {
    await removeHooks(root.path)
    writeFileSync(at('usr/lib/vml'), '')
    await assert.rejects(installHooks(root.path, files), (error: unknown) => isFailure(error, 'failed'))
    mkdirSync(at('opt/tried/none'), { recursive: true })
    await assert.rejects(installHooks(at('opt/tried/none'), files), (error: unknown) =>
      isFailure(error, 'unsupported'),
    )
  })

  test('leave a file of somebody else alone, and a copy of ours goes', async () => {
    rmSync(at('etc/apt/apt.conf.d/00vml'))
    writeFileSync(at('etc/apt/apt.conf.d/00vml'), '// mine\n')
    await assert.rejects(installHooks(root.path, files), (error: unknown) => isFailure(error, 'exists'))
    writeFileSync(at('usr/lib/vml/notes'), 'mine')
    assert.deepEqual(await removeHooks(root.path), { left: ['/etc/apt/apt.conf.d/00vml', '/usr/lib/vml'] })
    rmSync(at('etc/apt/apt.conf.d/00vml'))
    await installHooks(root.path, files)
    const text = readFileSync(at('usr/lib/vml/apt.conf'))
    rmSync(at('etc/apt/apt.conf.d/00vml'))
    writeFileSync(at('etc/apt/apt.conf.d/00vml'), text)
    await removeHooks(root.path)
    assert.equal(existsSync(at('etc/apt/apt.conf.d/00vml')), false)
  })
})

/** Without what apt and dpkg write of each run: their logs, databases and caches. */
function normal(tree: string): string {
  return tree
    .split('\n')
    .filter((line) => !/^(?:var\/log|var\/lib\/(?:dpkg|apt)|var\/cache)(?:\/| )/.test(line))
    .join('\n')
}
