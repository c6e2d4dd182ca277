// Two programs that make a repository in one place at the same time: one has it then, and the other is told.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cheapKey, password, reopen } from '../../test/store-fixture.ts'
import type { Backend, FileRef } from '../backend/backend.ts'
import { openMemory } from '../backend/memory.ts'
import { isFailure, VmlError } from '../base/failure.ts'
import { initRepository, openRepository } from './repository.ts'

type Files = Map<string, Buffer>

/** A storage that has no "only if it is new", as some are: who writes a config last has written over all others. */
function openReplacing(files: Files, parts: Partial<Backend> = {}): Backend {
  const memory = openMemory({ files })
  return {
    ...memory,
    put: async (file, data, options) => {
      if (file.kind === 'config') files.delete('config/')
      await memory.put(file, data, options)
    },
    ...parts,
  }
}

const keysOf = (files: Files) => [...files.keys()].filter((path) => path.startsWith('key/'))
const theirs = { ...cheapKey, password: Buffer.from('of another test') }
const opensWith = async (files: Files, secret: Buffer) =>
  await openRepository({ backend: openMemory({ files }), secrets: [secret] })

test('who finds the config of another one in its place has made nothing, says so, and takes no key of the other away', async () => {
  const files: Files = new Map()
  let other: Promise<unknown> | undefined
  const mine = openReplacing(files)
  const backend: Backend = {
    ...mine,
    put: async (file, data, options) => {
      // The other one begins when this one has its keys, and its config is there last.
      if (file.kind === 'config') other = initRepository({ backend: openReplacing(files), keys: [theirs] })
      await mine.put(file, data, options)
      await other
    },
  }
  await assert.rejects(initRepository({ backend, keys: [cheapKey] }), (error: Error) => {
    assert.ok(isFailure(error, 'exists'), String(error))
    return /meanwhile/.test(error.message) && error.hint !== undefined
  })
  await opensWith(files, theirs.password)
  await assert.rejects(reopen(files), { code: 'auth.key' })
  assert.equal(keysOf(files).length, 1)
})

test('whose keys another one has taken for left over has them again before it is told that it has a repository', async () => {
  const files: Files = new Map()
  const mine = openReplacing(files)
  const backend: Backend = {
    ...mine,
    put: async (file, data, options) => {
      // The other one is done, and has cleaned up, before this one's config arrives.
      if (file.kind === 'config') await initRepository({ backend: openReplacing(files), keys: [theirs] })
      await mine.put(file, data, options)
    },
  }
  const made = await initRepository({ backend, keys: [cheapKey] })
  const opened = await opensWith(files, password)
  assert.deepEqual([opened.id, opened.keyId], [made.id, made.keyId])
  // The other one was told that it has made one: the next thing it does tells it what happened.
  await assert.rejects(opensWith(files, theirs.password), { code: 'integrity.mac' })
})

test('a key of whoever lost tells that the place has become another one, not only that its config is damaged', async () => {
  const files: Files = new Map()
  await initRepository({ backend: openMemory({ files }), keys: [theirs] })
  const kept = keysOf(files).map((path) => [path, files.get(path) ?? Buffer.of()] as const)
  files.clear()
  await initRepository({ backend: openMemory({ files }), keys: [cheapKey] })
  for (const [path, data] of kept) files.set(path, data)
  await assert.rejects(opensWith(files, theirs.password), (error: Error) => {
    assert.ok(isFailure(error, 'integrity.mac'))
    return /at the same time/.test(error.hint ?? '')
  })
  await opensWith(files, password)
})

test('where nobody knows whether the config arrived, the keys stay: it opens if it did', async () => {
  for (const arrives of [true, false]) {
    const files: Files = new Map()
    const memory = openMemory({ files })
    const lost = new VmlError('unavailable.network', 'Cannot reach it')
    let broken = false
    const backend: Backend = {
      ...memory,
      put: async (file: FileRef, data, options) => {
        if (file.kind !== 'config') return await memory.put(file, data, options)
        if (arrives) await memory.put(file, data, options)
        broken = true
        throw lost
      },
      size: async (...size) => {
        if (broken && arrives) throw lost
        return await memory.size(...size)
      },
    }
    await assert.rejects(initRepository({ backend, keys: [cheapKey] }), { code: 'unavailable.network' })
    if (arrives) await reopen(files)
    else assert.deepEqual(keysOf(files), [])
  }
})
