// The linter really denies what our rules deny: each planted fault is reported under its rule.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync, mkdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

const root = join(import.meta.dirname, '..')

const faults: readonly [rule: string, files: Readonly<Record<string, string>>][] = [
  ['no-floating-promises', { 'src/a.ts': 'export async function a() {}\na()\n' }],
  ['no-misused-promises', { 'src/a.ts': 'export const a = [1].filter(async () => true)\n' }],
  ['no-explicit-any', { 'src/a.ts': 'export const a: any = 1\n' }],
  ['no-unsafe-assignment', { 'src/a.ts': "export const a: string = JSON.parse('1')\n" }],
  ['no-non-null-assertion', { 'src/a.ts': 'export const a = (b: string | undefined) => b!\n' }],
  ['no-default-export', { 'src/a.ts': 'export default 1\n' }],
  [
    'consistent-type-imports',
    {
      'src/a.ts': "import { B } from './b.ts'\nexport type A = B\n",
      'src/b.ts': 'export interface B { b: 1 }\n',
    },
  ],
  [
    'no-cycle',
    {
      'src/a.ts': "import { b } from './b.ts'\nexport const a = () => b\n",
      'src/b.ts': "import { a } from './a.ts'\nexport const b = () => a\n",
    },
  ],
  ['no-process-env', { 'src/a.ts': "export const a = process.env['HOME']\n" }],
  ['no-console', { 'src/a.ts': "console.log('a')\n" }],
  [
    'switch-exhaustiveness-check',
    {
      'src/a.ts':
        "export function a(b: 'x' | 'y') {\n  switch (b) {\n    case 'x':\n      return 1\n  }\n  return 2\n}\n",
    },
  ],
]

for (const [rule, files] of faults) {
  test(`a fault against ${rule} is reported`, () => {
    const report = lint(files)
    assert.match(report, new RegExp(`\\(${rule}\\)`))
  })
}

test('clean code is not reported', () => {
  assert.match(lint({ 'src/a.ts': 'export const a = 1\n' }), /Found 0 warnings and 0 errors/)
})

function lint(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'vml-lint-'))
  try {
    for (const name of ['.oxlintrc.json', 'tsconfig.json', 'package.json'])
      cpSync(join(root, name), join(folder, name))
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
    mkdirSync(join(folder, 'src'))
    for (const [path, text] of Object.entries(files)) writeFileSync(join(folder, path), text)
    const args = [join(root, 'node_modules/.bin/oxlint'), '--type-aware', '--deny-warnings']
    return spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8' }).stdout
  } finally {
    rmSync(folder, { recursive: true })
  }
}
