// Parsers of packages and of what package managers write, for the fuzzer: these come from archives and from machines.
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { asRaw, rawFromBytes } from '../src/base/raw-text.ts'
import { controlParagraphs } from '../src/model/control-paragraph.ts'
import { dependenciesOf, formatRelation } from '../src/model/dependency.ts'
import { parseMd5sums } from '../src/model/md5sums.ts'
import { readDiversions } from '../src/packages/dpkg-diversions.ts'
import { openDeb } from '../src/wire/deb-file.ts'
import { openLocalShell } from '../src/wire/local-shell.ts'
import type { Shell } from '../src/wire/shell.ts'
import { applyDelta, makeDelta } from '../src/wire/zstd-delta.ts'
import type { Target } from './fuzz.ts'
import { noise } from './store-fixture.ts'

const control = `Package: thing
Source: things (1.0)
Version: 1:1.0-2
Architecture: amd64
Depends: libc6 (>= 2.36), a:any | b (<< 2) [!hurd-any] <!nocheck>
Conffiles:
 /etc/thing d41d8cd98f00b204e9800998ecf8427e obsolete
Description: first line
 second
`

/** No program is started for a mutated name of a compression. */
const noPrograms: Shell = {
  ...openLocalShell(),
  run: async () => await Promise.resolve({ status: 0, stdout: Buffer.alloc(0), stderr: Buffer.alloc(0) }),
}

export function packageTargets(): Target[] {
  const base = Buffer.concat([noise(3000, 'one'), noise(400, 'two')])
  const delta = makeDelta({ old: Buffer.concat([noise(3000, 'one'), noise(99, 'three')]), base })
  return [
    { name: '.deb', seeds: debs(), json: false, parse: readDeb },
    { name: 'control paragraphs', seeds: [Buffer.from(control)], json: false, parse: readControl },
    {
      name: 'md5sums',
      seeds: [Buffer.from(`${'a'.repeat(32)}  usr/bin/x\n\\${'b'.repeat(32)} *usr/a\\\\b\\n\n`)],
      json: false,
      parse: (input) => parseMd5sums(rawFromBytes(input)),
    },
    {
      name: 'diversions',
      seeds: [Buffer.from('/usr/a\n/usr/a.orig\npackage\n/usr/b\n/usr/b.distrib\n:\n')],
      json: false,
      parse: (input) => readDiversions(rawFromBytes(input), (path) => path),
    },
    {
      name: 'delta',
      seeds: [delta ?? Buffer.alloc(0)],
      json: false,
      parse: (input) => applyDelta({ delta: input, base, sizeBytes: 3099 }),
    },
  ]
}

function readControl(input: Buffer): void {
  for (const fields of controlParagraphs(rawFromBytes(input)))
    for (const groups of dependenciesOf(fields).values())
      for (const relation of groups.flat()) asRaw(formatRelation(relation))
}

async function readDeb(input: Buffer): Promise<void> {
  async function* stream() {
    for (let at = 0; at < input.length; at += 1000) yield input.subarray(at, at + 1000)
  }
  await using deb = await openDeb(stream(), { shell: noPrograms })
  for await (const { segments } of deb.entries()) await Array.fromAsync(segments())
}

function debs(): Buffer[] {
  const folder = mkdtempSync(join(tmpdir(), 'vml-fuzz-deb-'))
  try {
    const source = join(folder, 'source')
    mkdirSync(join(source, 'DEBIAN'), { recursive: true })
    mkdirSync(join(source, 'usr'))
    // Architectures and build profiles stand in sources only.
    const binary = control.replace(/ \[.*/, '')
    writeFileSync(join(source, 'DEBIAN/control'), `${binary}Maintainer: Nobody <nobody@localhost>\n`)
    writeFileSync(join(source, 'usr/file'), 'content\n'.repeat(99))
    chmodSync(join(source, 'DEBIAN'), 0o755)
    return ['none', 'gzip', 'zstd'].map((compression) => {
      const file = join(folder, `${compression}.deb`)
      const words = [`-Z${compression}`, '--uniform-compression', '--build', source, file]
      execFileSync('dpkg-deb', words, { stdio: 'pipe' })
      return execFileSync('cat', [file])
    })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
