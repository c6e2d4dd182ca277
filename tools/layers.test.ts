// The import direction check finds what it must find, and leaves allowed imports alone.
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { findLayerViolations } from './layers.ts'

function violations(files: Readonly<Record<string, string>>): string[] {
  const root = mkdtempSync(join(tmpdir(), 'vml-layers-'))
  try {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(root, path)), { recursive: true })
      writeFileSync(join(root, path), text)
    }
    return findLayerViolations(root)
  } finally {
    rmSync(root, { recursive: true })
  }
}

test('imports of the own folder and of lower rows are allowed', () => {
  const found = violations({
    'src/engine/save.ts': `import { readFileSync } from 'node:fs'\nimport type { A } from '../store/a.ts'\nimport './b.ts'\n`,
    'src/store/a.ts': `export { fail } from '../base/failures.ts'\n`,
    'src/web/main.tsx': `import { a } from '../model/a.ts'\n`,
  })
  assert.deepEqual(found, [])
})

for (const [name, file, text] of [
  ['a lower row that imports an upper one', 'src/base/a.ts', `import { b } from '../model/b.ts'`],
  ['a type import upwards', 'src/wire/a.ts', `import type { B } from '../engine/b.ts'`],
  ['an import over several lines', 'src/base/a.ts', `import {\n  b,\n  c,\n} from '../app/b.ts'`],
  ['a re-export upwards', 'src/store/a.ts', `export * from '../engine/b.ts'`],
  ['an import for its effect', 'src/store/a.ts', `import '../cli/b.ts'`],
  ['an import on use', 'src/engine/a.ts', `const b = await import('../http/b.ts')`],
  ['a neighbour of the same row', 'src/backend/a.ts', `import { b } from '../source/b.ts'`],
  ['a sub-folder that reaches up', 'src/store/deep/a.ts', `import { b } from '../../engine/b.ts'`],
  ['a table of drivers outside of app', 'src/engine/a.ts', `import { all } from '../backend/all.ts'`],
  ['a browser file that imports the engine', 'src/web/a.ts', `import { b } from '../engine/b.ts'`],
  ['a folder that the design does not know', 'src/utils/a.ts', `import { b } from '../base/b.ts'`],
  ['an import from outside of src', 'src/cli/a.ts', `import { b } from '../../tools/b.ts'`],
] as const) {
  test(`${name} is found`, () => {
    const found = violations({ [file]: `${text}\n` })
    assert.equal(found.length, 1)
    assert.ok(found[0]?.startsWith(`${file}: imports "`))
  })
}

test('a test may import what its subject may not, and app may open a table of drivers', () => {
  const found = violations({
    'src/base/a.test.ts': `import { b } from '../engine/b.ts'\n`,
    'src/app/open.ts': `import { all } from '../backend/all.ts'\n`,
  })
  assert.deepEqual(found, [])
})
