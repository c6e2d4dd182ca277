// What a save reads, leaves out and says of it.
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { closeSync, existsSync, openSync, readdirSync, readFileSync, statSync, writeSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { vmlCommand, vmlEnvironment } from '../cli.ts'
import { resticProgram } from '../restic-peer.ts'
import { type MachineBench, openMachineBench } from './machine-bench.ts'
import { sh } from './nasty-tree.ts'

interface Shown {
  readonly mode: string
  readonly excluded: Record<string, string>
  readonly problems: Record<string, string>
  readonly outcome: string
  readonly statistics: { readonly filesRead: number; readonly files: number }
  readonly mounts: readonly string[]
}

/** What the entry itself says, read by restic. */
function documentOf(bench: MachineBench, snapshot = 'latest'): Shown {
  const document = JSON.parse(bench.restic('dump', snapshot, '/.vml/entry.json'))
  const byPath = (items: { path: string; rule?: string; problem?: string }[]) =>
    Object.fromEntries(
      items.map(({ path, rule, problem }) => [path.replace(`${bench.home}/`, ''), rule ?? problem ?? '']),
    )
  return {
    ...document,
    excluded: byPath(document.excluded),
    problems: byPath(document.problems),
    mounts: document.mounts.map(({ path }: { path: string }) => path),
  }
}

const pathsIn = (bench: MachineBench) =>
  bench
    .restic('ls', 'latest')
    .split('\n')
    .filter((line) => line.startsWith(`${bench.home}/`))
    .map((line) => line.slice(bench.home.length + 1))

test('equal size and time with new content is noticed; full, differential and incremental read what they say', async () => {
  await using bench = await openMachineBench()
  const { home, vml } = bench
  const only = ['--only', join(home, 'w')]
  bench.sh('mkdir w; for i in 1 2 3 4 5; do echo a$i > w/f$i; done')
  const read = (text: string) => /^ {2}(\w+)[^:]*: read (\d+) of 5 files/m.exec(text)?.slice(1).join(' ')
  const first = await vml(['save', 'here', ...only])
  assert.equal(read(first.stderr), 'full 5')
  bench.sh('sleep 0.1')
  await vml(['save', 'here', ...only])
  bench.sh('sleep 0.1')
  const third = await vml(['save', 'here', ...only])
  assert.equal(read(third.stderr), 'incremental 0')
  bench.sh('touch -r w/f1 stamp; echo B1 > w/f1; touch -r stamp w/f1; rm stamp')
  const fourth = await vml(['save', 'here', ...only])
  assert.equal(read(fourth.stderr), 'incremental 1')
  assert.equal((await vml(['cat', `@latest:${home}/w/f1`])).stdout, 'B1\n')
  bench.sh('echo x > w/f2; sleep 0.1')
  const differential = await vml(['save', 'here', '--differential', ...only])
  assert.match(read(differential.stderr) ?? '', /^differential [25]$/)
  const full = await vml(['save', 'here', '--full', ...only])
  assert.equal(read(full.stderr), 'full 5')
})

test('a change in the same tick of the clock as the last scan is read again', async () => {
  await using bench = await openMachineBench()
  const { home, vml } = bench
  const file = join(home, 'w/f')
  bench.sh('mkdir w; echo aa > w/f')
  // Written over and over with the time given back, so that only ctime could tell, and that only as finely as it ticks.
  const writer = spawn(
    'bash',
    ['-c', 'n=0; while :; do n=$((n+1)); printf "%06d" $n > "$1"; touch -d @1000 "$1"; done', 'sh', file],
    { stdio: 'ignore' },
  )
  await vml(['save', 'here', '--only', join(home, 'w')])
  writer.kill('SIGKILL')
  await new Promise((resolve) => writer.once('close', resolve))
  bench.sh('touch -d @1000 w/f')
  await vml(['save', 'here', '--only', join(home, 'w')])
  assert.equal((await vml(['cat', `@latest:${file}`])).stdout, readFileSync(file, 'utf8'))
})

test('rules leave out what they name, the entry says which, and what was named by hand stays', async () => {
  await using bench = await openMachineBench()
  const { home, vml } = bench
  bench.sh(String.raw`
    mkdir -p a/b/c .cache/mozilla/x .cache/mine tagged/in src/keep src/drop
    printf '*.o\n!keep.o\n/only-here\ndrop/\n' > .vmlignore; printf '!*.o\n*.tmp\n*\n!c\n!*.txt\n' > a/b/.vmlignore
    touch a/x.o keep.o only-here a/only-here a/b/y.o a/b/y.tmp a/b/y.txt a/b/z a/b/c/z.txt src/drop/d src/keep/k.root
    printf 'Signature: 8a477f597d28d172789f06886806bc55\n' > tagged/CACHEDIR.TAG; touch tagged/t tagged/in/u
    touch .cache/mozilla/x/m .cache/mine/m
    mkdir -p out/deep/inner; printf 'out/\n' >> .vmlignore; echo i > out/deep/inner/i; echo o > out/o
    mkfifo pipe; touch 'q[1]'
  `)
  const server = createServer().listen(join(home, 'sock'))
  await vml(['save', 'here', '--include', join(home, 'out/deep'), '--exclude', '*.root'])
  server.close()
  const { excluded, problems, outcome } = documentOf(bench)
  assert.equal(outcome, 'complete')
  assert.equal(problems['sock'], 'socket')
  const paths = pathsIn(bench)
  const kept =
    'keep.o a/only-here a/b/y.txt a/b/.vmlignore a/b/c/z.txt .cache/mine/m tagged/CACHEDIR.TAG pipe out/deep/inner/i src/keep q[1]'
  for (const path of kept.split(' ')) assert.ok(paths.includes(path), `${path} is there`)
  const gone =
    'a/x.o only-here a/b/y.tmp a/b/z .cache/mozilla tagged/t tagged/in src/drop/d src/keep/k.root out/o sock'
  for (const path of gone.split(' ')) assert.ok(!paths.includes(path), `${path} is left out`)
  assert.match(excluded['a/x.o'] ?? '', /\.vmlignore:1 \*\.o$/)
  assert.match(excluded['a/b/y.tmp'] ?? '', /a\/b\/\.vmlignore:/)
  assert.match(excluded['.cache/mozilla'] ?? '', /^default: browser caches/)
  assert.match(excluded['tagged/t'] ?? '', /CACHEDIR\.TAG/)
  assert.match(excluded['src/keep/k.root'] ?? '', /--exclude \*\.root/)
  assert.match(excluded['out'] ?? '', /\.vmlignore:5 out\/$/)
})

test('no byte of a key, a password or the logbook is in an entry or a share, though all lie in the home', async () => {
  await using bench = await openMachineBench()
  const { home, vml } = bench
  bench.sh('mkdir inside; cp "$1" inside/password; echo mine > mine', bench.test.passwordFile)
  const logbook = join(home, 'inside/logbook')
  const env = { VML_LOGBOOK: logbook, VML_PASSWORD_FILE: join(home, 'inside/password') }
  await vml(['init', logbook, '--password-file', join(home, 'inside/password')])
  await vml(['save', 'here'], { env })
  await vml(['save', 'here', '--include', join(home, 'inside'), '--full'], { env })
  // Asked for by name, or through a link, it is refused.
  bench.sh('ln -s .local/share/vml mine-too')
  await vml(['save', 'here', '--only', join(home, '.local/share/vml/keys')], { env, status: 2 })
  await vml(['save', 'here', '--only', join(home, 'mine-too')], { env, status: 2 })
  const keys = readdirSync(join(home, '.local/share/vml/keys'), { recursive: true, encoding: 'utf8' })
    .map((name) => join(home, '.local/share/vml/keys', name))
    .filter((path) => statSync(path).isFile())
  assert.ok(keys.length > 0)
  const target = join(bench.beside, 'all')
  const restic = (...args: string[]) =>
    sh(
      home,
      'export RESTIC_REPOSITORY="$1" RESTIC_PASSWORD_FILE="$2"; shift 2; exec "$@"',
      logbook,
      env.VML_PASSWORD_FILE,
      resticProgram('0.14'),
      '--no-cache',
      ...args,
    )
  restic('restore', 'latest', '--target', target)
  assert.ok(existsSync(join(target, home, 'mine')))
  for (const name of ['.local/share/vml', '.cache/vml', 'inside/logbook', 'inside/password'])
    assert.ok(!existsSync(join(target, home, name)), name)
  // Every file of every entry: no secret in any form that a file of a key has it.
  const secrets = [env.VML_PASSWORD_FILE, ...keys].map((path) => readFileSync(path, 'latin1').trim())
  const ids = JSON.parse(restic('snapshots', '--json')) as readonly { readonly id: string }[]
  const everything = ids.map(({ id }) => restic('dump', id, '/', '-a', 'tar')).join('')
  assert.ok(everything.includes('mine'))
  for (const secret of secrets) {
    assert.ok(secret.length > 8)
    assert.ok(!everything.includes(secret))
  }
})

test('other file systems are not entered, and no restore writes or deletes in them', async () => {
  await using bench = await openMachineBench()
  const { home } = bench
  bench.sh('mkdir -p w/mnt; echo f > w/f; head -c 3000000 /dev/urandom > w/big')
  const inNamespace = (script: string, ...args: string[]) =>
    spawnSync('unshare', ['-m', 'sh', '-euc', script, 'sh', home, ...vmlCommand, ...args], {
      env: vmlEnvironment({ home }),
      encoding: 'utf8',
      cwd: home,
    })
  const mounted = 'mount -t tmpfs tmpfs "$1/w/mnt"; echo inside > "$1/w/mnt/secret"; shift; exec "$@"'
  const saved = inNamespace(mounted, 'save', 'here', '--only', join(home, 'w'))
  assert.equal(saved.status, 0, saved.stderr)
  assert.deepEqual(documentOf(bench).mounts, [join(home, 'w/mnt')])
  assert.ok(!pathsIn(bench).includes('w/mnt/secret') && pathsIn(bench).includes('w/mnt'))
  // What is mounted is not removed, nor written into.
  bench.sh('rm w/f')
  const restored = inNamespace(
    'mount -t tmpfs tmpfs "$1/w/mnt"; echo inside > "$1/w/mnt/x"; home=$1; shift; "$@"; test -f "$home/w/mnt/x"',
    'restore',
    '1',
    '--delete',
  )
  assert.equal(restored.status, 0, restored.stderr)
})

test('a full disk of the logbook is exit 31, the logbook is whole, and the next save ends right', async () => {
  await using bench = await openMachineBench()
  const { home, beside, vml } = bench
  bench.sh('mkdir w; echo f > w/f; head -c 30000000 /dev/urandom > w/big')
  const small = spawnSync(
    'unshare',
    [
      ...['-m', 'sh', '-euc'],
      `book=$1; small=$2; shift 2; mkdir "$small"; mount -t tmpfs -o size=20m tmpfs "$small"
      cp -a "$book"/. "$small"; status=0; "$@" || status=$?; cp -a "$small" "$small.after"; exit $status`,
      ...['sh', bench.logbook, join(beside, 'small'), ...vmlCommand, '--logbook', join(beside, 'small')],
      ...['save', 'here', '--only', join(home, 'w')],
    ],
    { env: vmlEnvironment({ home }), encoding: 'utf8', cwd: home },
  )
  assert.equal(small.status, 31, small.stderr)
  const after = join(beside, 'small.after')
  const check = () =>
    sh(
      home,
      'RESTIC_REPOSITORY="$1" RESTIC_PASSWORD_FILE="$2" "$3" --no-cache check --read-data',
      after,
      bench.test.passwordFile,
      resticProgram('0.14'),
    )
  check()
  await vml(['--logbook', after, 'save', 'here', '--only', join(home, 'w')])
  check()
})

test('a file that is written all the time is kept with a warning, whole as far as it was read', async () => {
  await using bench = await openMachineBench()
  const { home, vml } = bench
  bench.sh('mkdir w; echo quiet > w/quiet')
  const file = openSync(join(home, 'w/log'), 'a')
  const timer = setInterval(() => writeSync(file, 'x'.repeat(1000)), 1)
  const { stderr } = await vml(['save', 'here', '--only', join(home, 'w')])
  clearInterval(timer)
  closeSync(file)
  assert.match(stderr, /Changed while it was read/)
  const { problems, outcome } = documentOf(bench)
  assert.deepEqual([problems['w/log'], outcome], ['changed-while-read', 'complete'])
  bench.check()
  const text = (await vml(['cat', `1:${home}/w/log`])).stdout
  assert.match(text, /^x+$/)
})

test('what a user may not read is listed, the entry is partial, exit 3, and a restore leaves it alone and names it', async () => {
  await using bench = await openMachineBench()
  const { home } = bench
  bench.sh(
    String.raw`
    mkdir -p w/shut/in w/listed; echo s > w/secret; chmod 000 w/secret; echo i > w/shut/in/i; chmod 000 w/shut; echo o > w/open
    echo l > w/listed/l; chown -R nobody w/open w w/listed; chown root w/secret w/shut; chown -R nobody . ; chown root w/secret w/shut
    chmod 711 ..; chmod -R o+rX "$1"
  `,
    bench.beside,
  )
  bench.sh('chmod 000 w/secret w/shut; chown -R nobody ../logbook ../password')
  const run = (...args: string[]) =>
    spawnSync('setpriv', ['--reuid=nobody', '--regid=nogroup', '--clear-groups', ...vmlCommand, ...args], {
      env: vmlEnvironment({ home }),
      encoding: 'utf8',
      cwd: home,
    })
  const saved = run('save', 'here', '--only', join(home, 'w'))
  assert.equal(saved.status, 3, saved.stderr)
  const { problems, outcome } = documentOf(bench)
  assert.deepEqual([outcome, problems], ['partial', { 'w/secret': 'unreadable', 'w/shut': 'unreadable' }])
  assert.ok(pathsIn(bench).includes('w/shut') && !pathsIn(bench).includes('w/secret'))
  bench.sh('rm w/open; echo more > w/more; chown nobody w/more')
  const restored = run('restore', '1', '--delete')
  assert.equal(restored.status, 3, restored.stderr)
  assert.match(restored.stderr, /not in the entry, could not be read[^\n]*\n.*w\/secret\n.*w\/shut\n/)
  assert.equal(
    bench.sh('cat w/open w/secret w/shut/in/i; ls w').replaceAll('\n', ' '),
    'o s i listed open secret shut ',
  )
})

test('two saves at once both succeed, under two numbers', async () => {
  await using bench = await openMachineBench()
  const { home, vml } = bench
  bench.sh('mkdir v w; echo v > v/v; echo w > w/w')
  await Promise.all([
    vml(['save', 'here', '--only', join(home, 'v')]),
    vml(['save', 'here', '--only', join(home, 'w')]),
  ])
  const { entries } = JSON.parse((await vml(['log', '--json'])).stdout)
  assert.deepEqual(entries.map(({ number }: { number: number }) => number).sort(), [1, 2])
  bench.check()
})

test('a home behind links is saved and restored under its real name', async () => {
  await using bench = await openMachineBench()
  const { home, beside } = bench
  sh(beside, 'mkdir real; mv home real/lab; ln -s real/lab home; ln -s real other')
  const behind = { HOME: join(beside, 'other/lab') }
  const run = (...args: string[]) =>
    spawnSync(vmlCommand[0] ?? '', [...vmlCommand.slice(1), ...args], {
      env: { ...vmlEnvironment({ home }), ...behind },
      encoding: 'utf8',
      cwd: home,
    })
  bench.sh('echo f > f')
  const saved = run('save', 'here')
  assert.equal(saved.status, 0, saved.stderr)
  bench.sh('echo changed > f; echo new > new')
  const restored = run('restore', '1', '--delete')
  assert.equal(restored.status, 0, restored.stderr)
  assert.equal(sh(join(beside, 'real/lab'), 'cat f; ls'), 'f\nf\n')
})
