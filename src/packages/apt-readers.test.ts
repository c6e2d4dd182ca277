import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { aptReaders } from './apt-readers.ts'

test('programs with apt in memory are named, whatever else is among processes', () => {
  const proc = mkdtempSync(join(tmpdir(), 'vml-proc-'))
  const add = (pid: string, files: Readonly<Record<string, string>>) => {
    mkdirSync(join(proc, pid))
    for (const [name, text] of Object.entries(files)) writeFileSync(join(proc, pid, name), text)
  }
  try {
    const line = (file: string) => `7f6d0a000000-7f6d0a1c0000 r-xp 00047000 08:01 1573 ${file}\n`
    add('581', {
      maps: line('/usr/lib/x86_64-linux-gnu/libapt-pkg.so.6.0.0'),
      comm: 'packagekitd\n',
    })
    add('7', { maps: line('/usr/lib/x86_64-linux-gnu/libc.so.6'), comm: 'sh\n' })
    add('90', { maps: line('/usr/lib/libapt-pkg.so.6.0 (deleted)'), comm: 'python3\n' })
    add('91', {})
    add('self', { maps: line('/usr/lib/libapt-pkg.so.6.0'), comm: 'node\n' })
    assert.deepEqual(aptReaders(proc), [
      { pid: 90, name: 'python3' },
      { pid: 581, name: 'packagekitd' },
    ])
  } finally {
    rmSync(proc, { recursive: true })
  }
})
