// Stages of a tiny root of busybox: entering, leaving, what is seen in them, and what was done in them, against another program's view of both trees.
import assert from 'node:assert/strict'
import {
  existsSync,
  lstatSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { isFailure } from '../../src/base/failure.ts'
import { rawFromBytes, rawFromString, rawToBytes } from '../../src/base/raw-text.ts'
import type { RawPath } from '../../src/model/raw-path.ts'
import { readChangeSet } from '../../src/stage/change-set.ts'
import { lowerConflicts } from '../../src/stage/lower-conflicts.ts'
import { planMounts, viewOf } from '../../src/stage/mount-plan.ts'
import { policyScript } from '../../src/stage/policy-rc.ts'
import { processesInStage, runInStage } from '../../src/stage/run-in-stage.ts'
import { scanRoot } from '../../src/stage/scan-root.ts'
import { planServices } from '../../src/stage/service-queue.ts'
import { makeStage, removeStage } from '../../src/stage/stage-folder.ts'
import { openFolderReader } from '../../src/wire/folder-reader.ts'
import { openLibc } from '../../src/wire/libc.ts'
import { inStage, runBed, sh } from '../stage-bed.ts'

const path = (text: string) => rawFromString(text) as RawPath

/** A root of one program, with a stage on it. */
function openTinyStage(context: TestContext, before = ':') {
  const top = mkdtempSync(join(tmpdir(), 'vml-stage-'))
  const root = join(top, 'it’s a root, or: $1\\')
  context.after(() => rmSync(top, { recursive: true, force: true }))
  const libc = openLibc(tmpdir())
  const reader = openFolderReader(tmpdir())
  assert.ok(libc && reader, 'node:ffi is missing')
  sh(
    `mkdir "$1"; cd "$1"; mkdir -p bin usr/sbin usr/lib/vml dev proc run tmp etc d var/log
    mkdir -p -m 700 var/lib/vml/stage/open; cp "$(command -v busybox)" bin/; mknod -m 666 dev/null c 1 3
    for name in sh cat ls ln rm mv mkdir sleep env pwd stat; do ln -s busybox bin/$name; done; ${before}`,
    top,
    root,
  )
  writeFileSync(join(root, 'usr/lib/vml/policy-rc.d'), policyScript(), { mode: 0o755 })
  const planned = planMounts({
    mountInfo: rawFromBytes(readFileSync('/proc/self/mountinfo')),
    root: path(root),
    state: path('/var/lib/vml'),
    stateOnMount: true,
    isFolder: (at) => existsSync(Buffer.from(`${path(root)}${at}`, 'latin1')),
    dataFolders: [],
  })
  assert.ok(planned.kind === 'stage', JSON.stringify(planned))
  const { plan } = planned
  const token = `tiny${process.pid}x${top.slice(-6).replaceAll(/[^A-Za-z0-9]/g, '')}`
  const make = () => makeStage(plan, { token, policy: path('/usr/lib/vml/policy-rc.d') }, libc)
  const folder = make()
  const { index } = scanRoot(viewOf(plan), { libc, reader })
  const read = async () => await readChangeSet({ plan, index, libc })
  return {
    root,
    plan,
    index,
    folder,
    token,
    make,
    read,
    run: async (script: string, status = 0) => await inStage(folder, ['/bin/sh', '-c', script], status),
    told: async () =>
      (await read()).changes.map(
        ({ path: at, before: old, after }) => `${old ? (after ? '~' : '-') : '+'}${at}`,
      ),
  }
}

test('what is done in a stage is in its change set and nowhere else, over random histories on several mounts', () => {
  const changes = runBed({ fileSystem: 'here', seeds: [1], operations: 60 })
  assert.ok(changes > 20, `only ${changes} changes`)
  assert.ok(runBed({ fileSystem: 'tmpfs', seeds: [4], operations: 40 }) > 10)
  // The root of all that is run, VML included.
  assert.ok(runBed({ fileSystem: 'chroot', seeds: [21], operations: 40 }) > 10)
})

test('a command in a stage has its words, descriptors, environment, folder and status', async (context) => {
  const { folder, root, run } = openTinyStage(context)
  const chunks: Buffer[] = []
  const outcome = await runInStage({
    folder,
    command: ['/bin/sh', '-c', 'cat; pwd; echo "$1" "$A" >&3; env >&3; exit 42', 'sh', 'two  words; $A'],
    environment: { A: 'b  c', PATH: '/usr/bin:/bin' },
    workingFolder: join(root, 'etc'),
    stdio: ['pipe', 'pipe', 'inherit', 'pipe'],
    onStart: (child) => {
      for (const at of [1, 3]) child.stdio[at]?.on('data', (chunk: Buffer) => void chunks.push(chunk))
      child.stdin?.end('input\n')
    },
  })
  assert.deepEqual(outcome, { status: 42 })
  const said = Buffer.concat(chunks).toString().split('\n')
  assert.ok(
    said.includes('input') && said.includes('/etc') && said.includes('two  words; $A b  c'),
    said.join('\n'),
  )
  assert.deepEqual(
    said.filter((line) => line.startsWith('vml')),
    [],
  )
  assert.ok(said.includes('PATH=/usr/bin:/bin'))
  assert.deepEqual(
    await runInStage({
      folder,
      command: ['/bin/sh', '-c', 'kill -TERM $$'],
      environment: process.env,
      stdio: 'ignore',
    }),
    { status: 143, signal: 'SIGTERM' },
  )
  assert.equal(await run('exit 97', 97), '')
})

test('VML’s own folder is empty in a stage, and what is seen through is the real one', async (context) => {
  const { root, run, told } = openTinyStage(context, 'echo secret >var/lib/vml/key; echo one >tmp/x')
  assert.equal(
    await run('ls -A /var/lib/vml; cat /tmp/x; echo two >/tmp/x; echo line >/var/log/l'),
    'inside\nqueue\none\n',
  )
  assert.equal(readFileSync(join(root, 'tmp/x'), 'utf8'), 'two\n')
  assert.equal(readFileSync(join(root, 'var/log/l'), 'utf8'), 'line\n')
  await run('rm -rf /var/lib/vml /var/log /usr/sbin/policy-rc.d 2>/dev/null', 1)
  assert.deepEqual(await told(), [])
})

test('services asked for in a stage are not touched, and known afterwards', async (context) => {
  const { folder, root, run, told } = openTinyStage(context)
  await run(
    '/usr/sbin/policy-rc.d ssh.service stop; [ $? = 101 ] && /usr/sbin/policy-rc.d ssh.service start',
    101,
  )
  const queue = rawFromBytes(readFileSync(rawToBytes(folder.queue)))
  assert.deepEqual(
    planServices(queue, { systemd: false }).starts.map(({ command }) => command.join(' ')),
    ['deb-systemd-invoke restart ssh.service'],
  )
  assert.deepEqual(await told(), [])
  assert.equal(existsSync(join(root, 'usr/sbin/policy-rc.d')), false)
})

test('a file written by one of its names changes under all of them, and is one file still', async (context) => {
  const { root, run, read, told } = openTinyStage(
    context,
    `cd d; echo a >a; ln a a2; ln a ../etc/a3; echo b >b; ln b b2; echo c >c; ln c c2; echo e >e; ln e e2; echo s >s
    echo r >r; ln r r2; echo k >k; ln k k2`,
  )
  assert.equal(
    await run(
      `cd /d; echo more >>a; cat a2 /etc/a3; echo x >>b; rm b; echo new >n; mv n c; ln e e4; chmod 644 e; ln s s2
      mkdir new; ln e2 new/e5; rm r; ln r2 r4; ln k k5; rm k k2 k5`,
    ),
    'a\nmore\na\nmore\n',
  )
  assert.deepEqual(await told(), [
    '~/d/a',
    '~/d/a2',
    '-/d/b',
    '~/d/b2',
    '~/d/c',
    '+/d/e4',
    '-/d/k',
    '-/d/k2',
    '+/d/new',
    '+/d/new/e5',
    '-/d/r',
    '+/d/r4',
    '+/d/s2',
    '~/etc/a3',
  ])
  const { changes, prepared, seal } = await read()
  seal()
  const inode = (place: RawPath | string) =>
    lstatSync(typeof place === 'string' && !place.includes('\\') ? place : rawToBytes(place as RawPath)).ino
  const numbers = new Map(
    changes.filter(({ after }) => after).map((each) => [each.path, inode(prepared(each.path))]),
  )
  const live = (name: string) => lstatSync(join(root, name)).ino
  assert.equal(numbers.get(path('/d/a')), numbers.get(path('/d/a2')))
  assert.equal(numbers.get(path('/d/a')), numbers.get(path('/etc/a3')))
  for (const name of ['/d/e4', '/d/new/e5']) assert.equal(numbers.get(path(name)), live('d/e'), name)
  assert.equal(numbers.get(path('/d/r4')), live('d/r2'))
  assert.equal(numbers.get(path('/d/s2')), live('d/s'))
  assert.equal(numbers.get(path('/d/c')) === live('d/c2'), false)
})

test('what changed below an open stage is a conflict just where the stage has a change, too', async (context) => {
  const { root, index, run, read } = openTinyStage(
    context,
    'for name in append gone same times rights replaced removed whole; do echo $name >d/$name; done; mkdir d/folder d/kept d/dir; echo x >d/dir/x; echo y >d/kept/y',
  )
  await run(
    `cd /d; for name in append gone same times rights replaced; do echo staged >>$name; done; rm removed whole; rm -r dir
    echo n >new; echo f >folder/f; echo k >kept/k`,
  )
  sh(
    `echo below >>append; rm gone; touch -d @5 times; chmod 600 rights; echo r >r; mv r replaced; echo z >dir/z
    echo other >new; echo more >>removed; rmdir folder; echo unseen >unseen; echo other >kept/other; echo late >>kept/y`,
    join(root, 'd'),
  )
  assert.deepEqual(lowerConflicts(await read(), index), [
    '/d/append',
    '/d/dir/z',
    '/d/folder',
    '/d/gone',
    '/d/new',
    '/d/removed',
    '/d/replaced',
    '/d/rights',
    '/d/times',
  ])
})

test('a further name of a file that stays is no conflict, although it moves its ctime', async (context) => {
  const { index, run, read, root } = openTinyStage(context, 'echo a >d/a; ln d/a d/b; ln d/a d/c')
  await run('cd /d; ln b e; rm a')
  const set = await read()
  assert.deepEqual(
    set.changes.map((change) => change.path),
    ['/d/a', '/d/e'],
  )
  assert.deepEqual(lowerConflicts(set, index), [])
  const ctime = () => statSync(join(root, 'd/a'), { bigint: true }).ctimeNs
  assert.equal(set.changes[0]?.before?.ctimeNs, ctime())
  const [gone, made] = set.seal()
  assert.equal(gone?.before?.ctimeNs, ctime())
  assert.equal(made?.after?.ctimeNs, ctime())
})

test('who enters while somebody is in sees the same stage, and who is left in it is found', async (context) => {
  const { run, token } = openTinyStage(context)
  assert.deepEqual(processesInStage(token), [])
  await run('echo one >/d/x; { sleep 600 >/dev/null 2>&1 & } ')
  const [left, ...others] = processesInStage(token)
  assert.ok(left !== undefined && others.length === 0)
  try {
    assert.equal(await run('cat /d/x; echo two >>/d/x; ls /var/lib/vml'), 'one\ninside\nqueue\n')
    assert.deepEqual(processesInStage(token), [left])
  } finally {
    process.kill(left, 'SIGKILL')
  }
  // The kernel lets the stage go in its own time: the next one waits for that.
  assert.equal(await run('cat /d/x'), 'one\ntwo\n')
})

test('a command that is called off ends, and the stage can be entered again', async (context) => {
  const { folder, run } = openTinyStage(context)
  const controller = new AbortController()
  const running = runInStage({
    folder,
    command: ['/bin/sh', '-c', 'echo x >/d/x; echo ready; sleep 600'],
    environment: process.env,
    stdio: ['ignore', 'pipe', 'inherit'],
    signal: controller.signal,
    onStart: (child) => child.stdout?.on('data', () => controller.abort()),
  })
  await assert.rejects(running, { name: 'AbortError' })
  assert.equal(await run('cat /d/x'), 'x\n')
})

test('a stage that cannot be mounted says why, and nothing is run', async (context) => {
  const { folder, root } = openTinyStage(context)
  rmSync(join(root, 'usr/lib/vml/policy-rc.d'))
  const enter = async () =>
    await runInStage({
      folder,
      command: ['/bin/sh', '-c', 'echo x >/tmp/x'],
      environment: process.env,
      stdio: 'ignore',
    })
  await assert.rejects(
    enter(),
    (error) => isFailure(error, 'unsupported') && /policy-rc\.d/.test(error.message),
  )
  rmSync(join(root, 'var/lib/vml/stage/open/layers/0/upper'), { recursive: true })
  await assert.rejects(
    enter(),
    (error) => isFailure(error, 'unsupported') && /overlay on/.test(error.message),
  )
  assert.equal(existsSync(join(root, 'tmp/x')), false)
})

test('one stage is open at a time, and one that is thrown away leaves nothing', async (context) => {
  const { root, plan, make, run } = openTinyStage(context, 'echo a >d/a; ln d/a d/b')
  await run('cd /d; echo x >>a; ln b c; rm -rf /etc; mkdir -p "/d/$(printf "\\377\\n")/x"; chmod 000 /d')
  assert.throws(make, (error) => isFailure(error, 'exists'))
  removeStage(plan)
  assert.deepEqual(readdirSync(join(root, 'var/lib/vml/stage/open')), [])
  assert.equal(readFileSync(join(root, 'd/a'), 'utf8'), 'a\n')
  make()
  assert.equal(await run('cat /d/a'), 'a\n')
})
