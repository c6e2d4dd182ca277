// What this computer remembers of an entry and of the logbook's index saves time and never decides what an entry holds.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openMachineBench } from './machine-bench.ts'

/** A tree of folders in folders; what is in it was written long before any scan. */
const manyFolders = String.raw`
  for a in 1 2 3 4; do for b in 1 2 3; do mkdir -p w/$a/$b/deep; echo $a$b > w/$a/$b/deep/f; echo $a > w/$a/$b/g; done; done
  ln -s g w/1/1/l; ln w/1/1/g w/2/2/h; chmod +x w/3/3/g; sleep 0.2`

test('a save that remembers stores exactly what one without any memory stores, whatever was changed', async () => {
  await using bench = await openMachineBench()
  const { home, vml } = bench
  const work = join(home, 'w')
  bench.sh(manyFolders)
  const save = async () => {
    await vml(['save', 'here', '--only', work])
    // Names the trees below it by their hashes, so that it stands for everything.
    const [last] = JSON.parse(bench.restic('snapshots', '--json', 'latest')) as { id: string }[]
    return bench.restic('cat', 'tree', `${last?.id}:${work}`)
  }
  const changes = [
    'echo new > w/1/1/deep/f; rm w/2/1/g; chmod 600 w/2/2/deep/f',
    'touch w/3/1/deep/new; mkdir w/9; ln -sf other w/1/1/l; rm w/1/3/g; mkdir w/1/3/g',
    'mv w/4/1 w/4/7; rm -r w/1/2/deep; setfattr -n user.k -v v w/3/2/g',
    'touch -d 2020-01-01 w/4/3/deep/f; mv w/4/2/g w/4/2/renamed; rm w/1/1/g; cp -p w/2/2/h w/1/1/g',
  ]
  await save()
  for (const change of changes) {
    bench.sh(`${change}; sleep 0.05`)
    const remembered = await save()
    rmSync(join(home, '.cache/vml'), { recursive: true, force: true })
    const compared = await save()
    assert.equal(compared, remembered, change)
  }
  bench.check()
})

test('a memory that was damaged, or is of another entry, is not used', async () => {
  await using bench = await openMachineBench()
  const { home, vml } = bench
  const work = join(home, 'w')
  bench.sh(manyFolders)
  await vml(['save', 'here', '--only', work])
  const folder = join(home, '.cache/vml/folders')
  const [name = assert.fail('nothing is remembered')] = readdirSync(folder)
  const old = readFileSync(join(folder, name))
  bench.sh('echo changed > w/1/1/g; sleep 0.05')
  await vml(['save', 'here', '--only', work])
  // That of the entry before: its folders are not those of the last entry.
  writeFileSync(join(folder, name), old)
  await vml(['save', 'here', '--only', work])
  const damaged = Buffer.from(old)
  damaged[old.length >> 1] = (damaged[old.length >> 1] ?? 0) ^ 1
  writeFileSync(join(folder, name), damaged)
  await vml(['save', 'here', '--only', work])
  assert.match(bench.restic('dump', 'latest', join(work, '1/1/g')), /changed/)
  bench.check()
})

test('content that the logbook has lost is read again, though nothing changed on the machine', async () => {
  await using bench = await openMachineBench()
  const { home, vml } = bench
  const work = join(home, 'w')
  bench.sh(`${manyFolders}; head -c 300000 /dev/urandom > w/4/4; sleep 0.2`)
  await vml(['save', 'here', '--only', work])
  await vml(['save', 'here', '--only', work])
  bench.sh('find "$1"/data -type f -size +100k -delete', bench.logbook)
  await vml(['save', 'here', '--only', work])
  const { stdout } = await vml(['restore', '@latest', '--to', join(home, 'back')])
  assert.ok(stdout.length > 0)
  bench.sh('cmp w/4/4 "$1"', join(home, 'back', work, '4/4'))
})
