// `./vml demo --keep DIR` as a newcomer runs it; what it claims is looked at again with programs that are not ours.
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { resticProgram } from '../restic-peer.ts'
import { runVml } from '../cli.ts'
import { buildImage } from '../../tools/images/images.ts'

const launcher = join(import.meta.dirname, '../../vml')

test('the demo plays to its end, and its logbook is what it says, for restic as for VML', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'vml-kept-'))
  try {
    const keep = join(folder, 'kept')
    const { status, output } = await run(['demo', '--keep', keep])
    assert.equal(status, 0, output)
    for (const command of [
      'init',
      'machine add',
      'save',
      'diff',
      'share',
      'import',
      'open',
      'restore',
      'log',
    ])
      assert.match(output, new RegExp(`^ +(?:first|second)\\$ vml ${command} `.trimEnd(), 'm'))
    for (const command of ['tx enable', 'tx run', 'tx list', 'tx show', 'tx undo'])
      assert.match(output, new RegExp(`^ +debian# vml ${command}`, 'm'))

    const report = JSON.parse(await readFile(join(keep, 'report.json'), 'utf8')) as {
      passed: boolean
      checks: { name: string; passed: boolean }[]
      entries: { number: number; id: string; title: string }[]
    }
    assert.equal(report.passed, true)
    assert.deepEqual(
      report.checks.filter(({ passed }) => !passed),
      [],
    )
    assert.ok(report.entries.length >= 3)

    const place = ['--repo', join(keep, 'logbook'), '--password-file', join(keep, 'password'), '--no-cache']
    const restic = (...args: string[]) =>
      execFileSync(resticProgram('0.19'), [...place, ...args], { encoding: 'utf8' })
    assert.match(restic('check', '--read-data'), /no errors were found/)
    const snapshots = JSON.parse(restic('snapshots', '--json')) as { id: string; original?: string }[]
    assert.deepEqual(
      snapshots.map(({ id, original }) => original ?? id).toSorted(),
      report.entries.map(({ id }) => id).toSorted(),
    )
    const second = report.entries.find(({ number }) => number === 2)?.id ?? ''
    const listed = restic('ls', second, '/home/lab/analysis')
    assert.match(listed, /points\.txt/)
    assert.doesNotMatch(listed, /draft\.txt/)

    const vml = async (...words: string[]) => {
      const known = ['--logbook', join(keep, 'logbook'), '--password-file', join(keep, 'password')]
      const outcome = await runVml([...words, ...known], { home: folder })
      assert.equal(outcome.status, 0, outcome.stderr)
      return outcome.stdout
    }
    assert.match(await vml('find', 'draft.txt'), /#1/)
    const shown = JSON.parse(await vml('show', '2', '--json')) as { document: { image: { sha256: string } } }
    assert.equal(shown.document.image.sha256, (await buildImage('tiny@1')).disk.sha256)
    // A second demo does not touch what a first one left.
    assert.notEqual((await run(['demo', '--keep', keep])).status, 0)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

test('a demo that is interrupted ends with 130 and takes its guests and folders along', async () => {
  const before = await readdir(tmpdir())
  const child = spawn(launcher, ['demo'], { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString()
    if (output.includes('vml save')) child.kill('SIGINT')
  })
  const [status] = (await once(child, 'close')) as [number | null]
  assert.equal(status, 130, output)
  const left = (await readdir(tmpdir())).filter((name) => {
    const pid = /^vml-(?:demo|guest)-(\d+)-/.exec(name)?.[1]
    // Other tests have guests, too: what belongs to a living process is not left behind.
    return pid !== undefined && !before.includes(name) && !existsSync(`/proc/${pid}`)
  })
  assert.deepEqual(left, [])
})

async function run(args: readonly string[]): Promise<{ status: number | null; output: string }> {
  const child = spawn(launcher, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const chunks: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk))
  const [status] = (await once(child, 'close')) as [number | null]
  return { status, output: Buffer.concat(chunks).toString() }
}
