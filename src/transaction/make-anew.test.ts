import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Reporter } from '../base/progress.ts'
import { asRaw } from '../base/raw-text.ts'
import { parseRawPath, rootPath } from '../model/raw-path.ts'
import type { ToMakeAnew } from '../model/regeneration.ts'
import type { Shell } from '../wire/shell.ts'
import { regenerateAfter } from './make-anew.ts'

/** Knows which paths are there, and how programs end. */
function machine({ there = [], ends = {} }: { there?: readonly string[]; ends?: Record<string, number> }) {
  const ran: string[] = []
  const warnings: string[] = []
  const reporter: Reporter = { progress: () => {}, warn: ({ warning }) => warnings.push(warning) }
  const run: Shell['run'] = ({ argv }) => {
    const [program = '', ...words] = argv
    const isTest = program === 'test'
    if (!isTest) ran.push(argv.join(' '))
    const status = isTest ? Number(!there.includes(words[1] ?? '')) : (ends[program] ?? 0)
    return Promise.resolve({ status, stdout: Buffer.alloc(0), stderr: Buffer.from('no room\n') })
  }
  const shell: Shell = {
    label: 'this host',
    run,
    start: () => Promise.reject(new Error('Is not started')),
    [Symbol.asyncDispose]: async () => {},
  }
  return { ran, warnings, place: { shell, reporter, signal: undefined } }
}

const due = (rule: string, path: string): ToMakeAnew => ({
  rule,
  path: parseRawPath(asRaw(path)) ?? rootPath,
})
const all = [
  due('ld.so.cache', '/usr/local/lib/libx.so.1'),
  due('initrd', '/boot/initrd.img-6.1.0'),
  due('man-index', '/var/cache/man/index.db'),
]

test('after a commit all is made that was to be made, a first one where there is none yet', async () => {
  const { ran, place } = machine({})
  assert.deepEqual(await regenerateAfter('commit', place, all), [])
  assert.deepEqual(ran, ['ldconfig', 'update-initramfs -c -k 6.1.0', 'mandb --quiet'])
})

test('after a take-back what came with what was taken back is not made once more', async () => {
  const { ran, place } = machine({ there: ['/var/cache/man/index.db'] })
  await regenerateAfter('take-back', place, all)
  assert.deepEqual(ran, ['ldconfig', 'mandb --quiet'])
})

test('what fails is told with what to type, and recorded where it is required; the others are made', async () => {
  const { ran, warnings, place } = machine({
    there: ['/boot/initrd.img-6.1.0'],
    ends: { 'update-initramfs': 1, mandb: 2, ldconfig: 127 },
  })
  const failed = await regenerateAfter('commit', place, [...all, due('of-a-later-vml', '/etc/x')])
  assert.equal(ran.length, 3)
  assert.deepEqual(
    failed.map(({ name, outcome }) => `${name}: ${outcome}`),
    ['update-initramfs -u -k 6.1.0: failed', 'of-a-later-vml: failed'],
  )
  assert.match(
    warnings[0] ?? '',
    /^Cannot make "initrd" anew: update-initramfs .* ended with 1: no room\. Remove the cause, then type: update-initramfs -u -k 6\.1\.0$/,
  )
  assert.equal(warnings.length, 3)
})
