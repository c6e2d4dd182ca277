import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { asRaw } from '../base/raw-text.ts'
import { isRawName, parentPath, parseRawPath, type RawPath } from '../model/raw-path.ts'
import type { RecordedChange } from '../model/transaction.ts'
import { besidePath } from '../model/beside-path.ts'
import { planBeside } from './beside-files.ts'
import type { ReadTransaction } from './transaction-entry.ts'
import type { UndoConflict, UndoPaths } from './undo-plan.ts'

const file = { type: 'file', mode: 0o644, uid: 0, gid: 0, mtimeNs: 0n } as const
const pathOf = (text: string): RawPath => {
  const path = parseRawPath(asRaw(text))
  assert(path !== undefined)
  return path
}

test('both sides of what cannot be merged have names that the kernel takes, whatever the name and the depth (issue 4)', () => {
  const name = fc.array(fc.integer({ min: 1, max: 255 }), { minLength: 1, maxLength: 255 })
  const names = fc.array(name, { minLength: 1, maxLength: 20 })
  fc.assert(
    fc.property(names, fc.constantFrom('.mine', '.old', '.old.12'), (parts, ending) => {
      const texts = parts.map((bytes) => Buffer.from(bytes).toString('latin1').replaceAll('/', '_'))
      fc.pre(texts.every((text) => isRawName(text)))
      const path = pathOf(`/${texts.join('/')}`.slice(0, 4095).replace(/\/\.{0,2}$/, ''))
      const beside = besidePath(path, ending)
      assert(beside.length <= 4095)
      assert(
        beside
          .split('/')
          .slice(1)
          .every((text) => isRawName(text)),
      )
      assert(beside.endsWith(ending))
      const folder = parentPath(beside)
      assert(folder === '/' || path.startsWith(`${folder}/`))
    }),
  )
})

test('a name of the usual length only gets longer, and one that is cut is not cut within a character', () => {
  assert.equal(besidePath(pathOf('/etc/hosts'), '.mine'), '/etc/hosts.mine')
  assert.equal(besidePath(pathOf('/hosts'), '.old'), '/hosts.old')
  const snowmen = Buffer.from('☃'.repeat(85)).toString('latin1')
  assert.equal(
    Buffer.from(besidePath(pathOf(`/${snowmen}`), '.old'), 'latin1').toString(),
    `/${'☃'.repeat(83)}.old`,
  )
})

test('two long names that begin alike, and a name that is taken or comes back, get different ones', () => {
  const long = 'n'.repeat(254)
  // Only its kind and its state before are looked at.
  const old = {
    kind: 'before',
    transaction: {} as ReadTransaction,
    change: { before: file } as RecordedChange,
  } as const
  const conflicts = ['/etc/x', `/etc/${long}a`, `/etc/${long}b`].map((path): UndoConflict => ({
    path: pathOf(path),
    reason: '',
    keys: [],
    now: file,
    old,
  }))
  const comesBack = { path: pathOf('/etc/x.old'), now: undefined, wanted: file, how: 'restored' } as const
  const paths: UndoPaths = { paths: [comesBack], conflicts, kept: [], regenerated: [], already: 0 }
  const there = pathOf('/etc/x.mine')
  assert.deepEqual(
    planBeside(paths, (path) => (path === there ? file : undefined)).map(({ path }) => path),
    [
      '/etc/x.mine.1',
      '/etc/x.old.1',
      `/etc/${'n'.repeat(250)}.mine`,
      `/etc/${'n'.repeat(251)}.old`,
      `/etc/${'n'.repeat(248)}.mine.1`,
      `/etc/${'n'.repeat(249)}.old.1`,
    ],
  )
})
