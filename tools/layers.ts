// Holds the direction of imports: a folder of src/ imports from the rows below its own and from itself, nothing else.
// One table says it; the linter's no-restricted-imports would need a list of patterns per folder, and matches text, not paths.
import { globSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'

/** Bottom to top. Folders of one row never import each other; they meet further up, as values. */
const rows: readonly (readonly string[])[] = [
  ['base'],
  ['model'],
  ['wire'],
  ['backend', 'source', 'hypervisor', 'image', 'packages', 'stage'],
  ['store', 'catalog'],
  ['engine'],
  ['transaction'],
  ['app'],
  ['cli', 'http'],
  ['web'],
]

/** What the browser's part may import besides itself: plain data and pure functions. */
const webMay: readonly string[] = ['model', 'web']

// Static imports and exports, bare imports, and import() of a literal. A commented-out import is reported too: remove it.
const specifiers =
  /(?:^|[;\n])\s*(?:import|export)\s(?:[^'";]*?\sfrom\s*)?['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/g

/** Every import of the sources below `root` that goes against the rows, as `file: sentence`. */
export function findLayerViolations(root: string): string[] {
  const files = globSync('src/**/*.{ts,tsx}', { cwd: root }).toSorted()
  return files
    .filter((file) => !/\.test\.tsx?$/.test(file))
    .flatMap((file) => {
      const text = readFileSync(join(root, file), 'utf8')
      return importsOf(text).flatMap((specifier) => {
        const reason = whyNot(file, specifier)
        return reason === undefined ? [] : [`${file}: imports "${specifier}", but ${reason}`]
      })
    })
}

function importsOf(text: string): string[] {
  return [...text.matchAll(specifiers)].flatMap(([, static_, dynamic]) => static_ ?? dynamic ?? [])
}

function whyNot(file: string, specifier: string): string | undefined {
  if (!specifier.startsWith('.')) return undefined
  const target = normalize(join(dirname(file), specifier))
  if (!target.startsWith('src/')) return 'src/ never imports from outside of src/'
  const from = layerOf(file)
  const to = layerOf(target)
  if (from === undefined) return `src/${file.split('/')[1]} is not a folder that the design knows`
  if (to === undefined) return `src/${target.split('/')[1]} is not a folder that the design knows`
  if (/\/all(?:-systems)?\.ts$/.test(target) && from.name !== 'app')
    return 'a table of drivers is opened only by app/'
  if (from.name === to.name) return undefined
  if (from.name === 'web' && !webMay.includes(to.name))
    return 'web/ runs in a browser and imports only model/'
  if (to.row > from.row) return `${to.name}/ lies above ${from.name}/`
  if (to.row === from.row) return `${to.name}/ and ${from.name}/ lie side by side and meet only further up`
  return undefined
}

function layerOf(path: string): { name: string; row: number } | undefined {
  const name = path.split('/')[1]
  const row = rows.findIndex((names) => names.some((layer) => layer === name))
  return name === undefined || row === -1 ? undefined : { name, row }
}
