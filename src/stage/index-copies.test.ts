import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isFailure } from '../base/failure.ts'
import { asRaw } from '../base/raw-text.ts'
import type { RawPath } from '../model/raw-path.ts'
import type { Attributes } from '../model/tree.ts'
import { namesByNumber } from './index-copies.ts'
import { indexedStatus, listedStatus, readListedIndex } from './listed-index.ts'
import type { MountPlan } from './mount-plan.ts'
import { entryOf } from './root-index.ts'

const path = (text: string): RawPath => asRaw(text) as RawPath
const overlay = {
  kind: 'overlay',
  path: path('/'),
  type: 'ext4',
  layer: path('/v/layers/0'),
  flags: [],
} as const
const plan: MountPlan = {
  root: path('/'),
  state: path('/v'),
  mounts: [overlay],
  hidden: [],
}
const file = (inode: bigint, links: number): Attributes => ({
  type: 'file',
  mode: 0o644,
  uid: 0,
  gid: 0,
  mtimeNs: 0n,
  ctimeNs: 0n,
  inode,
  deviceId: 1n,
  links,
  size: 1,
})

async function* listed() {
  yield { path: path('/b'), attributes: file(0x1234n, 2) }
  yield { path: path('/a'), attributes: file(0x1234n, 2) }
  yield { path: path('/c'), attributes: file(0x99n, 2) }
}

async function names(handle: string): Promise<string[]> {
  const index = await readListedIndex(listed())
  const found = namesByNumber(plan, overlay, {
    index,
    copies: [
      { place: path(`/v/layers/0/work/index/${handle}`), status: listedStatus(file(7n, 1)) },
      { place: path('/v/layers/0/work/index/#1'), status: listedStatus(file(8n, 1)) },
    ],
    lowerAt(at) {
      const entry = entryOf(index, at)
      return entry && { place: at, status: indexedStatus(entry) }
    },
    isSeen: (at) => at === '/b',
  })
  return found.map((each) => each.path)
}

const handleOf = (type: string, bytes: string) => `00fb1d00${type}${'ab'.repeat(16)}${bytes}`

test('the names of a file that was written to by another name are told by the number in the index of the overlay', async () => {
  assert.deepEqual(await names(handleOf('01', '3412000078563412')), ['/a'])
  assert.deepEqual(await names(handleOf('81', '341200000000000078563412')), ['/a'])
  assert.deepEqual(await names(handleOf('4d', '341200000000000000010000')), ['/a'])
})

test('a handle that nobody here can read is refused', async () => {
  await assert.rejects(names(handleOf('55', '3412000078563412')), (error) => isFailure(error, 'unsupported'))
  await assert.rejects(names('nothing'), (error) => isFailure(error, 'unsupported'))
})
