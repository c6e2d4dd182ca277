// What happens to folders while `vml restore` runs in them: edits, a second restore, a kill at the worst moment. Nothing of it is lost.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { vmlCommand, vmlEnvironment } from '../cli.ts'
import { type MachineBench, openMachineBench } from './machine-bench.ts'

interface Ended {
  readonly status: number
  readonly text: string
}

function start(
  { test: { home } }: MachineBench,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): { readonly pid: number; readonly ended: Promise<Ended> } {
  const [program = '', ...words] = vmlCommand
  const child = spawn(program, [...words, ...args], {
    cwd: home,
    env: vmlEnvironment({ home, env }),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let text = ''
  const add = (part: Buffer) => {
    text += part.toString('latin1')
  }
  child.stdout.on('data', add)
  child.stderr.on('data', add)
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => resolve({ status: code ?? -1, text }))
  })
  assert.ok(child.pid)
  return { pid: child.pid, ended }
}

/** A restore that stands still when its safety entry is there and nothing is changed yet; it goes on after `edit`. */
async function editLate(
  bench: MachineBench,
  { env, edit }: { readonly env: Readonly<Record<string, string>>; readonly edit: string },
): Promise<Ended> {
  const snapshots = join(bench.logbook, 'snapshots')
  const untouched = () => bench.sh('cat w/first w/zz w/keep; stat -c %a w/meta')
  for (let attempt = 0; attempt < 10; attempt++) {
    const before = readdirSync(snapshots).length
    const was = untouched()
    const { pid, ended } = start(bench, ['restore', '1', '--delete'], env)
    const wait = new Int32Array(new SharedArrayBuffer(4))
    // No pause of the event loop: it would be as long as what has to be met.
    for (let turn = 0; turn < 60_000 && readdirSync(snapshots).length === before; turn++)
      Atomics.wait(wait, 0, 0, 1)
    process.kill(pid, 'SIGSTOP')
    const isInTime = untouched() === was
    if (isInTime) bench.sh(edit)
    process.kill(pid, 'SIGCONT')
    const end = await ended
    if (isInTime) return end
    // Too late on a busy machine: once more from where it began.
    bench.sh(change)
  }
  throw new Error('The moment between the safety entry and the first change was never met')
}

const change =
  'for f in first zz big rest; do echo changed >> w/$f; done; echo mine > w/keep; chmod 640 w/meta'

for (const [by, env] of [
  ['threads', {}],
  ['tar', { VML_NO_FFI: '1' }],
] as const) {
  test(`what is edited after the safety entry is neither replaced nor deleted by a restore by ${by}, but named, exit 3`, async () => {
    await using bench = await openMachineBench()
    bench.sh(
      'mkdir w; for f in first zz rest meta; do echo v1 > w/$f; done; head -c 9000000 /dev/urandom > w/big',
    )
    await bench.vml(['save', 'here', '--only', join(bench.home, 'w')])
    bench.sh(change)
    const edit =
      'echo late > w/first; echo late > w/t; mv w/t w/zz; echo late > w/keep; chmod 600 w/meta; echo more >> w/big'
    const { status, text } = await editLate(bench, { env, edit })
    assert.equal(status, 3, text)
    for (const name of ['first', 'zz', 'keep', 'meta', 'big'])
      assert.ok(text.includes(`${bench.home}/w/${name} `), `${name} is named: ${text}`)
    assert.match(text, /Something else came there meanwhile/)
    assert.equal(
      bench.sh('cat w/first w/zz w/keep w/rest; stat -c %a w/meta; tail -n 1 w/big'),
      'late\nlate\nlate\nv1\n600\nmore\n',
    )
    assert.equal(bench.sh('ls -A w'), 'big\nfirst\nkeep\nmeta\nrest\nzz\n')
    // Asked for again, all of it is kept first, and goes.
    await bench.vml(['restore', '1', '--delete'])
    assert.equal(bench.sh('cat w/first w/zz; ls w'), 'v1\nv1\nbig\nfirst\nmeta\nrest\nzz\n')
    bench.check()
  })
}

test('of two restores into one folder neither takes the other’s pieces: files are whole, and all is there in the end', async () => {
  await using bench = await openMachineBench()
  bench.sh(
    'mkdir w; for n in 1 2 3 4 5 6; do head -c 6000000 /dev/urandom > w/$n; done; sha256sum w/* > sums',
  )
  await bench.vml(['save', 'here', '--only', join(bench.home, 'w')])
  for (let round = 0; round < 2; round++) {
    bench.sh('for n in 1 2 3 4 5 6; do echo x >> w/$n; done')
    const both = [start(bench, ['restore', '1']), start(bench, ['restore', '1'])]
    const ends = await Promise.all(both.map(async ({ ended }) => await ended))
    // Old or new, and never a piece: 6000000 bytes, or with what was added.
    const sizes = new Set(bench.sh('stat -c %s w/?').trim().split('\n'))
    assert.ok(
      [...sizes].every((size) => size === '6000000' || size === '6000002'),
      `${[...sizes].join()}\n${ends.map(({ text }) => text).join()}`,
    )
    for (const { status, text } of ends) assert.ok([0, 3, 11, 15].includes(status), `${status}: ${text}`)
    await bench.vml(['restore', '1'])
    bench.sh('sha256sum -c --quiet sums')
    assert.equal(bench.sh('ls -A w'), '1\n2\n3\n4\n5\n6\n')
  }
  bench.check()
})

test('what a kill left aside and no entry has stays, is named by the next restore, and is saved', async () => {
  await using bench = await openMachineBench()
  bench.sh('mkdir w; echo v1 > w/f')
  const folder = join(bench.home, 'w')
  await bench.vml(['save', 'here', '--only', folder])
  bench.sh('echo v2 > w/f')
  const aside = '.vml-aside-0123456789abcdef-0-0-zzzz-0123456789abcdef'
  writeFileSync(join(folder, aside), 'late\n')
  const { stdout, stderr } = await bench.vml(['restore', '1'])
  assert.ok(`${stdout}${stderr}`.includes(aside))
  assert.equal(readFileSync(join(folder, aside), 'latin1'), 'late\n')
  await bench.vml(['save', 'here', '--only', folder])
  assert.equal((await bench.vml(['cat', `@latest:${join(folder, aside)}`])).stdout, 'late\n')
  // With --delete it goes as anything that the entry does not have: into a safety entry.
  await bench.vml(['restore', '1', '--delete'])
  assert.equal(bench.sh('ls -A w'), 'f\n')
  const log = await bench.vml(['log', '--json'])
  assert.match(log.stdout, /"safety"/)
  bench.check()
})
