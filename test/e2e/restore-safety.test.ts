// What a restore must never do: lose what it did not keep, delete what it does not know, follow a link, claim what is not.
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { openMachineBench } from './machine-bench.ts'
import { assertSameTree, describeTree, sh } from './nasty-tree.ts'

test('without --delete nothing goes; with it the state is exact, and what no rule gave away stays', async () => {
  await using bench = await openMachineBench()
  const { home, vml } = bench
  bench.sh(String.raw`
    mkdir -p work/sub cachepart gone; echo one > work/f; echo c > cachepart/c; echo g > gone/g
    printf '*.o\n' > work/.vmlignore; echo o > work/x.o; ln work/f work/sub/f2
  `)
  await vml(['save', 'here', '-m', 'first', '--exclude', 'skipped/', '--cache', 'part=cachepart'], {
    cwd: home,
  })
  const before = describeTree(join(home, 'work'))
  const server = createServer().listen(join(home, 'work/socket'))
  bench.sh(String.raw`
    rm -r gone; echo two > work/f; mkdir -p work/new/deep skipped work/mixed; echo n > work/new/deep/n; echo s > skipped/s
    echo y > work/mixed/y.o; echo z > work/mixed/z; echo newer > cachepart/c; echo more > cachepart/d
  `)
  await vml(['restore', '1'])
  assert.equal(bench.sh('cat work/f gone/g work/new/deep/n cachepart/c'), 'one\ng\nn\nc\n')
  bench.sh('echo newer > cachepart/c')
  const { stdout } = await vml(['restore', '1', '--delete', '--without-cache', '--dry-run'])
  assert.match(stdout, /- .*work\/new\/deep\/n\n/)
  assert.ok(existsSync(join(home, 'work/new/deep/n')))
  await vml(['restore', '1', '--delete', '--without-cache'])
  server.close()
  // Excluded by .vmlignore, by --exclude, a part that was left out, VML's own: all are there.
  assert.equal(
    bench.sh('cat work/x.o work/mixed/y.o skipped/s cachepart/c cachepart/d'),
    'o\ny\ns\nnewer\nmore\n',
  )
  assert.ok(existsSync(join(home, '.local/share/vml')))
  assert.ok(!existsSync(join(home, 'work/new')) && !existsSync(join(home, 'work/mixed/z')))
  bench.sh('rm -rf work/mixed work/socket; touch -d "@0" work')
  await vml(['restore', '1:/' + join(home, 'work').slice(1), '--delete'])
  assertSameTree(describeTree(join(home, 'work')), before)
  bench.check()
})

test('a folder that became a link is put back without a byte behind the link being touched, and the reverse', async () => {
  await using bench = await openMachineBench()
  const { beside, vml } = bench
  const home = join(bench.home, 'w')
  mkdirSync(home)
  const canary = join(beside, 'canary')
  const run = (script: string) => sh(home, script, canary)
  mkdirSync(join(canary, 'sub'), { recursive: true })
  run(
    String.raw`mkdir -p d/sub; echo f > d/f; echo x > d/sub/x; ln -s "$1" l; echo file > was; mkdir -p dir/in`,
  )
  writeFileSync(join(canary, 'f'), 'canary')
  writeFileSync(join(canary, 'sub/x'), 'canary')
  await vml(['save', 'here', '--only', home])
  const before = describeTree(home, { without: ['ownTime'] })
  const untouched = describeTree(canary)
  run(String.raw`rm -r d; ln -s "$1" d; rm l; mkdir l; rm was; mkdir was; rm -r dir; echo now > dir`)
  // A folder with content in the way needs --delete, and is found before anything is changed.
  run('echo stays > l/stays')
  const now = describeTree(home)
  await vml(['restore', '1'], { status: 14 })
  assertSameTree(describeTree(home), now)
  await vml(['restore', '1', '--delete'])
  assertSameTree(describeTree(canary), untouched)
  for (const path of ['./d/f', './d/sub/x', './l', './was', './dir/in'])
    assert.equal(describeTree(home).facts.get(path), before.facts.get(path), path)
  // Only the link itself, when the restored folder lies behind it: a conflict, and nothing is changed.
  run(String.raw`rm -r d; ln -s "$1" d`)
  await vml(['restore', `1:${home}/d/sub/x`], { status: 14 })
  assertSameTree(describeTree(canary), untouched)
})

test('the safety entry brings back every path that a restore changed or deleted, and nothing else with it', async () => {
  await using bench = await openMachineBench()
  const { home, vml } = bench
  bench.sh('mkdir -p w/d; echo 1 > w/a; echo 1 > w/d/b; ln -s a w/l')
  await vml(['save', 'here', '-m', 'first', '--only', join(home, 'w')])
  bench.sh(String.raw`
    echo changed > w/a; chmod 600 w/a; rm w/l; echo 'file now' > w/l; rm -r w/d; echo d > w/d
    mkdir w/more; echo late > w/more/late; setfattr -n user.k -v v w/more/late
  `)
  const changed = describeTree(join(home, 'w'))
  await vml(['restore', '1', '--delete'])
  assert.match((await vml(['log'])).stdout, /#2 .*Before restore of #1/)
  bench.sh('echo apart > w/apart')
  // Its folders are folders of the entry before: what is beside its paths stays, with --delete too.
  await vml(['restore', '2', '--delete'])
  assert.equal(bench.sh('cat w/apart'), 'apart\n')
  bench.sh('rm w/apart')
  await vml(['restore', '2', '--delete'])
  assertSameTree(describeTree(join(home, 'w')), changed)
  bench.check()
})

test('a snapshot of another program speaks for its paths, not for the folders above them', async () => {
  await using bench = await openMachineBench()
  const { home, vml } = bench
  bench.sh('mkdir -p w/in; echo f > w/in/f')
  bench.restic('backup', join(home, 'w/in'))
  bench.sh('echo stays > w/stays; echo goes > w/in/goes')
  const { id, machine } = JSON.parse((await vml(['log', '--json'])).stdout).entries[0]
  await vml(['machine', 'add', machine, 'local:'])
  // Even when the folder above is named: the snapshot does not know what else is in it.
  for (const reference of [id, `${id}:${home}/w`]) {
    const { stdout } = await vml(['restore', reference, machine, '--delete', '--dry-run'])
    assert.doesNotMatch(stdout, /stays|logbook/)
    assert.match(stdout, /- .*goes\n/)
  }
  await vml(['restore', id, machine, '--delete'])
  assert.equal(bench.sh('ls w w/in').replaceAll('\n', ' '), 'w: in stays  w/in: f ')
})

test('VML’s own files are neither written nor removed, whatever the entry has', async () => {
  await using bench = await openMachineBench()
  const { home, vml } = bench
  bench.sh('echo f > f')
  // Another program saves VML's keys too, and its snapshots are entries.
  const own = join(home, '.local')
  bench.restic('backup', home)
  const keys = describeTree(own)
  bench.sh('echo later > later')
  await vml(['machine', 'rm', 'here', '--yes'])
  const { id, machine } = JSON.parse((await vml(['log', '--json'])).stdout).entries[0]
  await vml(['machine', 'add', machine, 'local:'])
  sh(own, 'find . -type f -exec touch -d @5 {} +')
  const touched = describeTree(join(own, 'share/vml'))
  assert.notDeepEqual(keys, touched)
  await vml(['restore', id, machine, '--delete'])
  assertSameTree(describeTree(join(own, 'share/vml')), touched)
  assert.ok(!existsSync(join(home, 'later')))
  await vml(['log'])
})

test('--to deletes only in a folder that was empty or that a restore made', async () => {
  await using bench = await openMachineBench()
  const { home, beside, vml } = bench
  bench.sh('mkdir w; echo 1 > w/a')
  await vml(['save', 'here', '-m', 'first', '--only', join(home, 'w')])
  const [mine, made] = [join(beside, 'mine'), join(beside, 'made')]
  mkdirSync(join(mine, home, 'w'), { recursive: true })
  writeFileSync(join(mine, home, 'w/precious'), 'mine')
  await vml(['restore', '1', '--to', mine])
  await vml(['restore', '1', '--to', mine, '--delete'], { status: 14 })
  assert.equal(readFileSync(join(mine, home, 'w/precious'), 'utf8'), 'mine')
  await vml(['restore', '1', '--to', made])
  writeFileSync(join(made, home, 'w/later'), 'x')
  await vml(['restore', '1', '--to', made, '--delete'])
  assert.ok(!existsSync(join(made, home, 'w/later')))
  await vml(['restore', `1:${home}/w/a`, '--to', join(beside, 'single')])
  assert.equal(readFileSync(join(beside, 'single/a'), 'utf8'), '1\n')
})

test('overwrite says what may be replaced', async () => {
  await using bench = await openMachineBench()
  const { home, vml } = bench
  bench.sh(
    'mkdir w; echo old > w/older; echo old > w/newer; echo old > w/same; echo old > w/gone; touch -d @1000 w/*',
  )
  await vml(['save', 'here', '--only', join(home, 'w')])
  const change = () =>
    bench.sh(
      'rm -f w/gone; echo new > w/older; touch -d @500 w/older; echo new > w/newer; echo new > w/same; touch -d @1000 w/same',
    )
  const now = () => bench.sh('cat w/older w/newer w/same w/gone').replaceAll('\n', ' ')
  const results: string[] = []
  for (const mode of ['never', 'if-newer', 'if-changed', 'always']) {
    change()
    await vml(['restore', '1', '--overwrite', mode])
    results.push(now())
  }
  // if-changed trusts size and time, as it says.
  assert.deepEqual(results, ['new new new old ', 'old new new old ', 'old old new old ', 'old old old old '])
})

test('the file of variables gives a plain shell what the login shell had', async () => {
  await using bench = await openMachineBench()
  const { home, vml } = bench
  const odd = `it's "quoted" $HOME \`id\` \\ \n two lines\u00e9`
  const env = { VML_TEST_ODD: odd, VML_TEST_PLAIN: 'x', PATH: process.env['PATH'] ?? '' }
  bench.sh(
    String.raw`printf 'export VML_TEST_RAW=%s\n' "\$(printf 'a\\377b')" > .profile; cp .profile .bash_profile; cp .profile .zprofile; cp .profile .zshenv; echo mine > .vml-environment.sh`,
  )
  await vml(['save', 'here'], { env })
  bench.sh('echo precious > .vml-environment.sh')
  await vml(['restore', '1', '--env', '--delete'], { env })
  const script = join(home, '.vml-environment.sh')
  const said = sh(
    home,
    `env -i sh -c '. "$1"; printf "%s|%s|%s" "$VML_TEST_ODD" "$VML_TEST_PLAIN" "$VML_TEST_RAW"' sh "$1"`,
    script,
  )
  assert.equal(
    Buffer.from(said, 'latin1').toString('latin1'),
    `${Buffer.from(odd).toString('latin1')}|x|a\xffb`,
  )
  // What stood there under this name is kept.
  assert.equal((await vml(['cat', `2:${script}`])).stdout, 'precious\n')
})

test('where the safety entry cannot be written nothing is touched', async () => {
  await using bench = await openMachineBench()
  const { home, vml } = bench
  bench.sh('mkdir w; head -c 3000000 /dev/urandom > w/a; echo b > w/b')
  await vml(['save', 'here', '--only', join(home, 'w')])
  bench.sh('head -c 3000000 /dev/urandom > w/a; rm w/b')
  const now = describeTree(join(home, 'w'))
  // On a mount of its own, in a namespace of its own: a file system without room, then one that is read only.
  const words = (options: string) => [
    '-m',
    'sh',
    '-c',
    `mount -t tmpfs -o size=5m tmpfs "$1" && cp -a "$2"/. "$1" && mount ${options} "$1" && shift 2 && exec "$@"`,
  ]
  const copy = join(bench.beside, 'copy')
  sh(bench.beside, 'mkdir copy; rm -rf small; cp -a logbook small')
  const { vmlCommand, vmlEnvironment } = await import('../cli.ts')
  const { spawnSync } = await import('node:child_process')
  for (const [options, statuses] of [
    ['-o remount,rw', [31]],
    ['-o remount,ro', [1]],
  ] as const) {
    const { status, stderr } = spawnSync(
      'unshare',
      [
        ...words(options),
        'sh',
        copy,
        join(bench.beside, 'small'),
        ...vmlCommand,
        '--logbook',
        copy,
        'restore',
        '1',
      ],
      { env: vmlEnvironment({ home }), encoding: 'utf8', cwd: home },
    )
    assert.ok(statuses.includes(status as never), `${options}: ${status}\n${stderr}`)
    assertSameTree(describeTree(join(home, 'w')), now)
  }
})

test('what the target refuses is named, exit 3, and the rest is there', async () => {
  await using bench = await openMachineBench()
  const { home, vml } = bench
  bench.sh('mkdir w; echo a > w/a; echo b > w/b')
  await vml(['save', 'here', '--only', join(home, 'w')])
  bench.sh('echo aa > w/a; echo bb > w/b; chattr +i w/a')
  const { stderr } = await vml(['restore', '1'], { status: 3 })
  assert.match(stderr, /w\/a/)
  assert.match(stderr, /kept in entry #2/)
  assert.equal(bench.sh('cat w/b; chattr -i w/a; cat w/a'), 'b\naa\n')
  await vml(['restore', '1'])
  assert.equal(bench.sh('cat w/a'), 'a\n')
})

test('the proof fails when something else is there than was written, exit 15', async () => {
  await using bench = await openMachineBench()
  const { home, vml } = bench
  bench.sh('mkdir w bin; echo a > w/a; echo b > w/b')
  // A tar that spoils one file after it has unpacked all, keeping size and time.
  bench.sh(String.raw`cat > bin/tar <<'END'
#!/bin/sh
case "$1" in -x) ;; *) exec /usr/bin/tar "$@" ;; esac
/usr/bin/tar "$@"; status=$?
touch -r "$SPOIL" /tmp/vml-stamp-$$; printf X | dd of="$SPOIL" conv=notrunc status=none
touch -r /tmp/vml-stamp-$$ "$SPOIL"; rm /tmp/vml-stamp-$$
exit $status
END
chmod +x bin/tar`)
  await vml(['save', 'here', '--only', join(home, 'w')])
  bench.sh('echo changed > w/a')
  // Where this process writes by itself there is no program in between: see restore-local.test.ts.
  const env = { PATH: `${home}/bin:${process.env['PATH']}`, SPOIL: `${home}/w/a`, VML_NO_FFI: '1' }
  const { stderr, stdout } = await vml(['restore', '1'], { env, status: 15 })
  assert.match(stderr, /w\/a has other content/)
  assert.doesNotMatch(stdout, /all equal/)
  await vml(['restore', '1'])
  assert.equal(bench.sh('cat w/a'), 'a\n')
})
