import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync, realpathSync } from 'node:fs'
import { basename } from 'node:path'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { makeElf } from '../../test/fixtures/elf-file.ts'
import { readElf } from './elf.ts'

const programs = ['/bin/sh', '/bin/ls', '/usr/bin/ssh', '/usr/sbin/ldconfig', process.execPath].map((path) =>
  realpathSync(path),
)

test('the needs of real programs are those that the linker finds', async () => {
  for (const program of programs) {
    const bytes = readFileSync(program)
    const elf = await read(bytes)
    assert.ok(elf, program)
    // The linker lists them all, with what they need in turn; a static program it refuses.
    const linked = needsByLinker(program)
    assert.equal(linked === undefined, elf.needed.length === 0, program)
    for (const name of elf.needed) assert.ok(linked?.has(name), `${name} of ${program}`)
  }
})

test('a library tells its own name, and its needs are in its order', async () => {
  const library = [...(needsByLinker(realpathSync('/usr/bin/ssh')) ?? [])].find(([name]) =>
    /crypto/.test(name),
  )
  assert.ok(library)
  const elf = await read(readFileSync(library[1]))
  assert.equal(elf?.soname, library[0])
  assert.equal(elf?.kind, 'library')
  assert.equal(elf?.bits, 64)
})

test('search paths are told as they stand, for both word sizes and byte orders', async () => {
  for (const bits of [32, 64] as const) {
    for (const little of [true, false]) {
      const file = makeElf({
        bits,
        little,
        needed: ['libfit.so.1', 'libm.so.6'],
        soname: 'libme.so',
        runpath: '$ORIGIN/../lib:/opt/fit',
      })
      assert.deepEqual(await read(file), {
        bits,
        machine: 'aarch64',
        kind: 'library',
        needed: ['libfit.so.1', 'libm.so.6'],
        soname: 'libme.so',
        runpath: ['$ORIGIN/../lib', '/opt/fit'],
      })
    }
  }
})

test('what is no ELF file is none', async () => {
  for (const bytes of [
    '',
    '#!/bin/sh\n',
    '\x7fELF',
    `\x7fELF${'\x00'.repeat(100)}`,
    `\x7fELF${'\xff'.repeat(100)}`,
  ])
    assert.equal(await read(Buffer.from(bytes, 'latin1')), undefined)
})

test('a file cut off or changed anywhere gives facts within the limits or none, and never reads past its end', async () => {
  const whole = makeElf({ bits: 64, little: true, needed: ['a.so', 'b.so'], soname: 'c.so', runpath: '/x' })
  const damage = fc.record({
    length: fc.nat(whole.length),
    changes: fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 6 }),
  })
  await fc.assert(
    fc.asyncProperty(damage, async ({ length, changes }) => {
      const bytes = Buffer.from(whole.subarray(0, length))
      for (const [at, value] of changes) if (at < length) bytes[at] = value
      const elf = await read(bytes)
      for (const name of elf?.needed ?? []) assert.ok(name.length <= 4096)
    }),
    { numRuns: 2000 },
  )
})

function read(bytes: Buffer): ReturnType<typeof readElf> {
  return readElf(bytes.length, (offset, length) => {
    assert.ok(offset >= 0 && offset + length <= bytes.length, 'a read within the file')
    return Promise.resolve(bytes.subarray(offset, offset + length))
  })
}

/** By ldd: name to path. Undefined for a static program. */
function needsByLinker(program: string): Map<string, string> | undefined {
  try {
    const text = execFileSync('ldd', [program], { encoding: 'utf8', stdio: 'pipe' })
    if (/statically linked/.test(text)) return undefined
    const lines = text.matchAll(/^\s(?:(\S+) => )?(\S+) \(/gm)
    // The linker itself stands without an arrow.
    return new Map(Array.from(lines, ([, name, path = '']) => [name ?? basename(path), path]))
  } catch {
    return undefined
  }
}
