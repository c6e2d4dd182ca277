// Where a save or a restore would say that all is well while something else stands there than it says.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { type MachineBench, openMachineBench } from './machine-bench.ts'

/** A PATH on which tar first moves the folder `from` away and puts a link to `to` in its place, when it is to pack. */
function swapBeforeTar(bench: MachineBench, from: string, to: string): string {
  const bin = join(bench.beside, 'bin')
  bench.sh(
    String.raw`
      mkdir -p "$1"
      printf '%s\n' '#!/bin/sh' 'real=/bin/tar' "from='$2' to='$3'" \
        'case "$*" in *" -T -"*|*--files-from=-*) [ -L "$from" ] || { mv "$from" "$from.gone"; ln -s "$to" "$from"; } ;; esac' \
        'exec "$real" "$@"' > "$1/tar"
      chmod +x "$1/tar"`,
    bin,
    from,
    to,
  )
  return `${bin}:${process.env['PATH'] ?? ''}`
}

/** The same for files that this process reads itself: right behind the walk, when the owners of what it found are asked for. */
function swapBehindWalk(bench: MachineBench, from: string, to: string): string {
  const bin = join(bench.beside, 'bin')
  bench.sh(
    String.raw`
      mkdir -p "$1"
      printf '%s\n' '#!/bin/sh' "from='$2' to='$3'" '/usr/bin/find "$@" || exit' \
        'case "$*" in *i%y*) [ -L "$from" ] || { mv "$from" "$from.gone"; ln -s "$to" "$from"; } ;; esac' > "$1/find"
      chmod +x "$1/find"`,
    bin,
    from,
    to,
  )
  return `${bin}:${process.env['PATH'] ?? ''}`
}

for (const [how, swap, more, firstStatus] of [
  ['sent by the machine', swapBeforeTar, { VML_NO_FFI: '1' }, 0],
  ['read here', swapBehindWalk, {}, 3],
] as const)
  test(`a folder that becomes a link while it is ${how}: what lies behind the link is not taken for its content`, async () => {
    await using bench = await openMachineBench()
    const { home, vml } = bench
    const work = join(home, 'w')
    bench.sh('mkdir -p w/d/sub other/sub; echo mine > w/d/sub/x; echo stranger > other/sub/x')
    const PATH = swap(bench, join(work, 'd'), join(home, 'other'))
    const env = { PATH, ...more }
    await vml(['save', 'here', '--only', work], { env, status: firstStatus })
    const first = bench.restic('ls', 'latest')
    assert.match(first, /\/w\/d\n/)
    assert.doesNotMatch(first, /\/w\/d\//)

    bench.sh('rm w/d; mv w/d.gone w/d')
    await vml(['save', 'here', '--only', work])
    bench.sh('sleep 0.1; echo changed > w/d/sub/x')
    const { stderr } = await vml(['save', 'here', '--only', work], { env, status: 3 })
    assert.match(stderr, /w\/d\/sub\/x: A folder that it lies in was replaced/)
    assert.doesNotMatch(bench.restic('ls', 'latest'), /sub\/x/)
    bench.check()
  })

test('a restore does not say that a folder is as it was when it has attributes that nobody could take away', async () => {
  await using bench = await openMachineBench()
  const { home, vml } = bench
  bench.sh('mkdir -p w/d; echo x > w/d/f')
  await vml(['save', 'here', '--only', join(home, 'w')])
  bench.sh('setfattr -n user.k -v v w/d w/d/f; setfacl -d -m u:daemon:rwx w/d')
  const { stderr } = await vml(['restore', '1'], { status: 15 })
  assert.match(stderr, /w\/d has the attribute user\.k too/)
  assert.doesNotMatch(stderr, /w\/d\/f |acl/)
  bench.sh('setfattr -x user.k w/d')
  const { stdout } = await vml(['restore', '1'])
  assert.match(stdout, /nothing to do/)
})

for (const [how, listedBy] of [
  ['by this process', {}],
  ['by find', { VML_NO_FFI: '1' }],
] as const)
  test(`before a save looks, ${how}, for what changed, the machine writes out what was changed through memory, after the clock was read`, async () => {
    await using bench = await openMachineBench()
    const { beside, home, vml } = bench
    const bin = join(beside, 'bin')
    const log = join(beside, 'calls')
    bench.sh(
      String.raw`
        mkdir -p w "$1"; echo x > w/f
        for name in date sync find; do
          printf '#!/bin/sh\necho %s "$*" >> "%s"\nexec "%s" "$@"\n' $name "$2" "$(command -v $name)" > "$1/$name"
        done
        sed -i "s|^exec|echo x > '$PWD/w/late'; exec|" "$1/sync"
        chmod +x "$1"/*`,
      bin,
      log,
    )
    const env = { ...listedBy, PATH: `${bin}:${process.env['PATH'] ?? ''}` }
    const work = join(home, 'w')
    await vml(['save', 'here', '--only', work], { env })
    // Otherwise a page that was written to since would be stamped before the scan, and never again.
    const calls = readFileSync(log, 'utf8').split('\n')
    const synced = calls.indexOf(`sync -f ${work}`)
    const clock = calls.lastIndexOf('date +%s%N', synced)
    assert.ok(clock >= 0 && clock < synced, calls.join('\n'))
    // What came with it was found.
    assert.match(bench.restic('ls', 'latest'), /\/w\/late$/m)
    const walks = calls.flatMap((call, index) =>
      call.startsWith('find ') && call.includes(`${work} `) && call.includes('-xdev') ? [index] : [],
    )
    assert.equal(walks.length, how === 'by find' ? 1 : 0, calls.join('\n'))
    assert.ok(walks.every((walk) => synced < walk))
  })

test('a restore refuses what it would not do: a cache part that the entry lacks, and options that mean nothing for an archive', async () => {
  await using bench = await openMachineBench()
  const { home, vml } = bench
  bench.sh('mkdir -p w/c; echo x > w/c/f')
  await vml(['save', 'here', '--only', join(home, 'w'), '--cache', `big=${home}/w/c`])
  bench.sh('rm w/c/f')
  const { stderr } = await vml(['restore', '1', '--cache', 'bgi'], { status: 4 })
  assert.match(stderr, /"bgi" in .*\n.*: big\n/)
  await vml(['restore', '1', '--cache', 'big'])
  assert.equal(bench.sh('cat w/c/f'), 'x\n')
  for (const words of [['--delete'], ['--env'], ['--overwrite', 'never']])
    await vml(['restore', '1', '--to', join(home, 'x.tar'), ...words], { status: 2 })
  assert.equal(bench.sh('ls x.tar 2>/dev/null || echo none'), 'none\n')
})
