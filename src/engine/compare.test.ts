import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import * as fc from 'fast-check'
import { isFailure } from '../base/failure.ts'
import { asRaw, rawFromString } from '../base/raw-text.ts'
import { openMemory } from '../backend/memory.ts'
import { compareTreeOrder, type FileChange } from '../model/compare.ts'
import type { TreeId } from '../model/ids.ts'
import { joinPath, parseRawPath, rootPath, type RawName, type RawPath } from '../model/raw-path.ts'
import type { TreeNode } from '../model/tree.ts'
import { initRepository } from '../store/repository.ts'
import type { Repository } from '../store/store.ts'
import { type CompareRequest, compareEntries } from './compare.ts'
import { readContent } from './compare-content.ts'
import { type CompareScope, type Side, storedTree } from './compare-side.ts'

/** A folder by its names: a file's content, a node, or another folder. */
interface Spec {
  readonly [name: string]: Spec | string | Custom
}

interface NodeSpec extends Omit<Partial<TreeNode>, 'content'> {
  readonly content?: string
}

class Custom {
  readonly node: NodeSpec
  constructor(node: NodeSpec) {
    this.node = node
  }
}

let repository: Repository
before(async () => {
  repository = await initRepository({
    backend: openMemory(),
    keys: [{ password: Buffer.alloc(32, 1), cost: 'cheap', username: 'lab', hostname: 'lab' }],
  })
})
after(() => repository[Symbol.asyncDispose]())

describe('files', () => {
  test('each kind of change has its mark', async () => {
    const base = {
      same: 'x',
      gone: 'only left',
      text: 'one',
      kind: 'file',
      set: new Custom({ mode: 0o600 }),
      who: new Custom({ uid: 1 }),
    }
    const link = { type: 'symlink', linkTarget: rawFromString('a') } as const
    const xattrs = [{ name: rawFromString('user.x'), value: Buffer.from('1') }]
    const changes = await diff(
      { home: { ...base, link: new Custom(link), label: new Custom({ content: '', xattrs }) } },
      {
        home: {
          same: 'x',
          fresh: 'only right',
          text: 'two',
          kind: new Custom(link),
          set: new Custom({ mode: 0o644 }),
          who: new Custom({ uid: 2 }),
          link: new Custom({ ...link, linkTarget: rawFromString('b') }),
          label: '',
        },
      },
    )
    assert.deepEqual(changes.files.map(brief), [
      '+ /home/fresh',
      '- /home/gone',
      'T /home/kind',
      'xattrs /home/label',
      'M /home/link',
      'mode /home/set',
      'M /home/text',
      'owner /home/who',
    ])
    assert.deepEqual(changes.totals, {
      added: 1,
      deleted: 1,
      changed: 3,
      attributes: 3,
      renamed: 0,
      bytesAdded: 'only right'.length,
      bytesRemoved: 'only left'.length + 'file'.length,
    })
  })

  test('one line says all that changed of a path, and times only when asked for', async () => {
    const left = { a: new Custom({ mode: 0o600, uid: 1, mtimeNs: 1n }), b: new Custom({ mtimeNs: 1n }) }
    const right = { a: new Custom({ mode: 0o644, uid: 2, mtimeNs: 2n }), b: new Custom({ mtimeNs: 2n }) }
    const [change, ...others] = (await diff(left, right)).files
    assert.deepEqual(change?.attributes, ['mode', 'owner'])
    assert.deepEqual(others, [])
    const timed = await diff(left, right, { times: true })
    assert.deepEqual(timed.files.map(brief), ['mode /a', 'times /b'])
  })

  test('a renamed file is one line, also with another mode, and an empty one is no rename', async () => {
    const { files } = await diff(
      { a: { old: 'content', empty: '' } },
      { b: { new: new Custom({ content: 'content', mode: 0o600 }), void: '' }, a: {} },
    )
    assert.deepEqual(files.map(brief), ['- /a/empty', '+ /b', 'rename /a/old -> /b/new', '+ /b/void'])
    assert.deepEqual(files.find(({ mark }) => mark === 'rename')?.attributes, ['mode'])
  })

  test('of several copies each is renamed once, to the one that is most like it', async () => {
    const { files } = await diff(
      { a: { x: 'copy', y: 'copy', z: 'copy' } },
      { a: {}, b: { y: 'copy', q: 'copy' } },
    )
    assert.deepEqual(files.map(brief), ['- /a/z', '+ /b', 'rename /a/x -> /b/q', 'rename /a/y -> /b/y'])
  })

  test('a renamed folder is one line with what is in it, and only the outermost', async () => {
    const inner = { one: '1', two: '22', deep: { three: '333' } }
    const { files } = await diff({ was: { inner }, kept: 'k' }, { is: { inner }, kept: 'k' })
    assert.deepEqual(files.map(brief), ['rename /was -> /is'])
    assert.deepEqual(files[0]?.below, { files: 3, bytes: 6 })
  })

  test('a folder that became a file takes what was in it along', async () => {
    const { files } = await diff({ a: { in: 'x' } }, { a: 'now a file' })
    assert.deepEqual(files.map(brief), ['T /a', '- /a/in'])
  })

  test('names come in the order of the tree, whatever bytes they have', async () => {
    const { files } = await diff({}, { a: { b: '1' }, 'a-b': '2', 'a\xff': '3', 'a\n': '4' })
    assert.deepEqual(
      files.map(({ path }) => path),
      ['/a', '/a/b', '/a\n', '/a-b', '/a\xff'],
    )
  })

  test('VML’s own documents are no files', async () => {
    const { files, identical } = await diff(
      { '.vml': { 'entry.json': '1' } },
      { '.vml': { 'entry.json': '2' } },
    )
    assert.deepEqual(files, [])
    assert.ok(identical)
  })

  test('the changes, applied to one side, give the other', async () => {
    const name = fc.constantFrom('a', 'b', 'a-', 'c')
    const file = fc.constantFrom('', 'x', 'yy')
    const folder = fc.letrec<{ folder: Spec; node: Spec | string }>((tie) => ({
      node: fc.oneof({ maxDepth: 3 }, file, tie('folder')),
      folder: fc.dictionary(name, tie('node'), { maxKeys: 4 }) as fc.Arbitrary<Spec>,
    })).folder
    // Many at once: each writer waits for its lock.
    const pairs = fc.array(fc.tuple(folder, folder), { minLength: 150, maxLength: 150 })
    await fc.assert(
      fc.asyncProperty(pairs, async (specs) => {
        const trees = await storeAll(specs.flat())
        for (const [index, [left, right]] of specs.entries()) {
          const [from, to] = trees.slice(index * 2, index * 2 + 2)
          assert.ok(from && to)
          const sides = { left: plainSide(from), right: plainSide(to) }
          const { files, configuration } = await compareEntries({ ...sides, repository })
          assert.deepEqual(
            applied(contents(left), [...files, ...configuration], contents(right)),
            applied(contents(right), [], new Map()),
          )
        }
      }),
      { numRuns: 3, endOnFailure: true },
    )
  })
})

describe('scope', () => {
  const home = path('/home/lab')
  const scope = (change: Partial<CompareScope> = {}): CompareScope => ({
    roots: [home],
    excluded: new Set(),
    unreadable: new Set(),
    mounts: new Set(),
    ...change,
  })

  test('what a side did not look at is not called deleted', async () => {
    const left = {
      home: { lab: { data: { big: 'x' }, key: 'k', disk: { f: '1' }, gone: 'g' } },
      opt: { lib: 'l' },
    }
    const right = { home: { lab: { data: {}, disk: {} } } }
    const result = await diff(left, right, {
      rightScope: scope({
        excluded: new Set([path('/home/lab/data')]),
        unreadable: new Set([path('/home/lab/key')]),
        mounts: new Set([path('/home/lab/disk')]),
      }),
    })
    assert.deepEqual(result.files.map(brief), ['- /home/lab/gone'])
    assert.deepEqual(
      result.notCompared.map(({ path, side, reason }) => `${path} ${side} ${reason}`),
      [
        '/home/lab/data/big right excluded',
        '/home/lab/disk/f right not included',
        '/home/lab/key right unreadable',
        '/opt right not included',
      ],
    )
  })

  test('what a side had and does not have is named, whether the other side has it or not', async () => {
    const lost = new Set([path('/home/lab/taken'), path('/home/lab/none'), path('/home/lab/deep')])
    const rightScope = scope({
      lost,
      unreadable: new Set([path('/home/lab/locked')]),
      gaps: new Set([...lost, path('/home/lab/locked'), path('/home/lab/there')]),
    })
    const told = async (left: Spec, options: Pick<CompareRequest, 'paths'> = {}) => {
      const { notCompared, identical, files } = await diff(
        left,
        { home: { lab: { there: 't' } } },
        { ...options, rightScope },
      )
      assert.ok(identical, JSON.stringify(files.map(brief)))
      return notCompared.map(({ path, side, reason }) => `${path} ${side} ${reason}`)
    }
    const left = { home: { lab: { taken: 'x', deep: { er: '1' }, there: 't' } } }
    const all = [
      '/home/lab/deep right lost',
      '/home/lab/locked right unreadable',
      '/home/lab/none right lost',
      '/home/lab/taken right lost',
    ]
    assert.deepEqual(await told(left), all)
    assert.deepEqual(await told({ home: { lab: { there: 't' } } }), all)
    assert.deepEqual(await told(left, { paths: [path('/home/lab/deep/er')] }), [
      '/home/lab/deep/er right lost',
    ])
    assert.deepEqual(await told(left, { paths: [path('/home/lab/none')] }), ['/home/lab/none right lost'])
    assert.deepEqual(await told(left, { paths: [path('/home/lab/deep/gone')] }), [
      '/home/lab/deep right lost',
    ])
    assert.deepEqual(await told(left, { paths: [path('/home/lab/there')] }), [])
  })

  test('only the wanted paths are compared, and packages then are not', async () => {
    const left = { a: { x: '1', y: '1' }, b: '1' }
    const right = { a: { x: '2', y: '2' }, b: '2' }
    const { files, packages } = await diff(left, right, { paths: [path('/a/y'), path('/b'), path('/b')] })
    assert.deepEqual(files.map(brief), ['M /a/y', 'M /b'])
    assert.deepEqual(packages, [])
    await assert.rejects(diff(left, right, { paths: [path('/a/x/deeper')] }), (error) =>
      isFailure(error, 'not-found'),
    )
  })
})

describe('the machine as it is now', () => {
  test('is asked for the content of files that its scan cannot tell from the entry’s', async () => {
    const asked: string[] = []
    const result = await diff(
      {
        same: new Custom({ content: 'abc', mtimeNs: 1n }),
        other: 'abc',
        longer: 'abc',
        old: new Custom({ content: 'moved', mtimeNs: 7n }),
      },
      { same: 'abc', other: 'abd', longer: 'abcd', new: new Custom({ content: 'moved', mtimeNs: 7n }) },
      {
        scanned: true,
        sameContent: (pairs) => {
          asked.push(...pairs.map((pair) => pair.path))
          return Promise.resolve(pairs.map((pair) => pair.path !== '/other'))
        },
      },
    )
    assert.deepEqual(asked.toSorted(), ['/new', '/other', '/same'])
    assert.deepEqual(result.files.map(brief), ['M /longer', 'rename /old -> /new', 'M /other'])
  })

  test('what it cannot hash is called changed, and equal bytes cut otherwise are called equal', async () => {
    const same = readContent({ repository })
    const [left, right] = await Promise.all([store({ a: 'abcdef' }), store({ b: 'abc', c: 'def' })])
    const [a] = await repository.readTree(left)
    const [b, c] = await repository.readTree(right)
    assert.ok(a && b?.content && c?.content)
    const split = { ...a, content: [...b.content, ...c.content] }
    const unknown: TreeNode = { name: a.name, type: 'file', mode: 0, uid: 0, gid: 0, mtimeNs: 0n, size: 6 }
    const pair = { path: path('/a'), left: a }
    assert.deepEqual(
      await same([
        { ...pair, right: split },
        { ...pair, right: unknown },
      ]),
      [true, false],
    )
  })
})

describe('documents', () => {
  test('packages, variables, facts and configuration each have their place', async () => {
    const left = {
      documents: {
        facts: { os: { PRETTY_NAME: 'Tiny 1' }, kernel: '6.1' },
        packages: { manager: 'dpkg', packages: [{ name: 'fit', version: '1', architecture: 'all' }] },
        environment: new Map([
          [rawFromString('A'), rawFromString('1')],
          [rawFromString('B'), rawFromString('1')],
          [rawFromString('SHLVL'), rawFromString('1')],
        ]),
      },
    } as const
    const right = {
      documents: {
        facts: { os: { PRETTY_NAME: 'Tiny 2' }, architecture: 'x86_64' },
        packages: { manager: 'dpkg', packages: [{ name: 'fit', version: '2', architecture: 'all' }] },
        environment: new Map([
          [rawFromString('B'), rawFromString('2')],
          [rawFromString('C'), rawFromString('3')],
          [rawFromString('SHLVL'), rawFromString('2')],
        ]),
      },
    } as const
    const result = await compareEntries({
      left: await side({ home: { '.bashrc': '1', 'fit.py': '1' } }, left),
      right: await side({ home: { '.bashrc': '2', 'fit.py': '2' } }, right),
      repository,
    })
    assert.deepEqual(result.facts, [{ fact: 'system', left: 'Tiny 1', right: 'Tiny 2' }])
    assert.deepEqual(result.packages, [
      { kind: 'upgraded', name: 'fit', architecture: 'all', from: '1', to: '2' },
    ])
    assert.deepEqual(
      result.environment?.map(({ kind, name }) => `${kind} ${name}`),
      ['removed A', 'changed B', 'added C'],
    )
    assert.deepEqual(result.configuration.map(brief), ['M /home/.bashrc'])
    assert.deepEqual(result.files.map(brief), ['M /home/fit.py'])
    assert.equal(result.totals.changed, 2)
    assert.equal(result.identical, false)
  })

  test('a document that one side has not is unknown, not empty', async () => {
    const known = { documents: { packages: { manager: 'apk', packages: [] } } } as const
    const result = await compareEntries({ left: await side({}, known), right: await side({}), repository })
    assert.equal(result.packages, undefined)
    assert.equal(result.environment, undefined)
    assert.ok(result.identical)
  })
})

interface DiffOptions extends Pick<CompareRequest, 'paths' | 'times' | 'sameContent'> {
  readonly rightScope?: CompareScope
  /** The right side comes from a scan: it knows no content. */
  readonly scanned?: boolean
}

async function diff(left: Spec, right: Spec, { rightScope, scanned, ...request }: DiffOptions = {}) {
  const rightSide = await side(right, rightScope === undefined ? {} : { scope: rightScope })
  const bare: Side = {
    ...rightSide,
    tree: {
      children: async (at, folder) => (await rightSide.tree.children(at, folder)).map(withoutContent),
    },
  }
  return await compareEntries({
    left: await side(left),
    right: scanned === true ? bare : rightSide,
    repository,
    ...request,
  })
}

async function side(
  spec: Spec,
  { documents, ...rest }: Pick<Side, 'scope'> & { documents?: Partial<Side> } = {},
): Promise<Side> {
  return { label: 'side', tree: storedTree(repository, await store(spec)), ...documents, ...rest }
}

function withoutContent({ content, ...node }: TreeNode): TreeNode {
  return content === undefined || content.length > 0 ? node : { ...node, content }
}

function plainSide(tree: TreeId): Side {
  return { label: 'side', tree: storedTree(repository, tree) }
}

async function store(spec: Spec): Promise<TreeId> {
  const [tree] = await storeAll([spec])
  assert.ok(tree)
  return tree
}

async function storeAll(specs: readonly Spec[]): Promise<TreeId[]> {
  await using writer = await repository.beginWrite()
  async function storeFolder(folder: Spec): Promise<TreeId> {
    const nodes: TreeNode[] = []
    for (const [key, value] of Object.entries(folder)) {
      const name = asRaw(key) as RawName
      const common = { name, mode: 0o644, uid: 1, gid: 1, mtimeNs: 5n }
      if (typeof value !== 'string' && !(value instanceof Custom)) {
        nodes.push({ ...common, type: 'dir', mode: 0o755, subtree: await storeFolder(value) })
        continue
      }
      const { content, ...attributes } = typeof value === 'string' ? { content: value } : value.node
      const node: TreeNode = { ...common, type: 'file', ...attributes }
      if (node.type !== 'file') nodes.push(node)
      else {
        const sink = writer.openFile()
        if (content) await sink.write({ kind: 'data', bytes: Buffer.from(content) })
        const stored = await sink.finish()
        nodes.push({ ...node, content: stored.content, size: stored.size })
      }
    }
    return await writer.storeTree(nodes)
  }
  const trees: TreeId[] = []
  for (const spec of specs) trees.push(await storeFolder(spec))
  return trees
}

/** Every path below a folder: `dir`, or the content of a file. */
function contents(spec: Spec, at: RawPath = rootPath): Map<string, string> {
  const found = new Map<string, string>()
  for (const [key, value] of Object.entries(spec)) {
    const here = joinPath(at, asRaw(key) as RawName)
    if (typeof value === 'string') found.set(here, value)
    else if (!(value instanceof Custom)) {
      found.set(here, 'dir')
      for (const [inner, content] of contents(value, here)) found.set(inner, content)
    }
  }
  return found
}

/** What comes of a state when a comparison's changes are made; new contents are looked up where they came from. */
function applied(
  state: Map<string, string>,
  changes: readonly FileChange[],
  now: ReadonlyMap<string, string>,
): Map<string, string> {
  for (const { mark, from, path: to } of changes) {
    if (mark !== 'rename' || from === undefined) continue
    for (const [key, value] of state) {
      if (key !== from && !key.startsWith(`${from}/`)) continue
      state.delete(key)
      state.set(to + key.slice(from.length), value)
    }
  }
  for (const { mark, path: at, right } of changes) {
    if (mark === '-') state.delete(at)
    else if (right?.type === 'dir') state.set(at, 'dir')
    else state.set(at, now.get(at) ?? '')
  }
  return new Map([...state].toSorted(([a], [b]) => compareTreeOrder(a, b)))
}

function brief({ mark, from, path: at }: FileChange): string {
  return from === undefined ? `${mark} ${at}` : `${mark} ${from} -> ${at}`
}

function path(text: string): RawPath {
  const parsed = parseRawPath(asRaw(text))
  assert.ok(parsed)
  return parsed
}
