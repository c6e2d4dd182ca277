import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import type { RawText } from '../base/raw-text.ts'
import { isRawName, joinPath, type RawName, type RawPath, rootPath } from '../model/raw-path.ts'
import type { NodeType } from '../model/tree.ts'
import { Listing } from './listing.ts'
import { rootRow } from './listing-row.ts'

const types: readonly NodeType[] = ['file', 'dir', 'symlink', 'fifo', 'dev', 'chardev', 'irregular']

const nameOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')

const paths = fc.uniqueArray(
  fc.record({
    name: fc.uint8Array({ minLength: 1, maxLength: 40 }).filter((bytes) => isRawName(nameOf(bytes))),
    type: fc.constantFrom(...types),
    mode: fc.nat(0o7777),
    uid: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    gid: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    links: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    size: fc.maxSafeNat(),
    mtimeSeconds: fc.oneof(fc.integer({ min: -(2 ** 33), max: 2 ** 34 - 1 }), fc.constantFrom(-1, 0, 1)),
    ctimeSeconds: fc.integer({ min: -(2 ** 33), max: 2 ** 34 - 1 }),
    mtimeNanoseconds: fc.nat(999_999_999),
    ctimeNanoseconds: fc.nat(999_999_999),
    inode: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    deviceId: fc.bigInt({ min: 0n, max: 5n }),
    target: fc.string({ minLength: 1, unit: 'grapheme-ascii' }),
  }),
  { maxLength: 30, selector: ({ name }) => nameOf(name) },
)

test('a path that comes as the system lists it is the same in a listing as one that comes with its attributes', () => {
  fc.assert(
    fc.property(paths, (given) => {
      const one = new Listing()
      const other = new Listing()
      let folder = rootPath
      for (const { name: bytes, inode, target, ...rest } of given) {
        const name = nameOf(bytes) as RawName
        const linkTarget = rest.type === 'symlink' ? (target as RawText) : undefined
        const time = (seconds: number, more: number) => BigInt(seconds) * 1_000_000_000n + BigInt(more)
        other.enter(folder)
        other.addListed({
          ...rest,
          names: Buffer.concat([Buffer.from('..'), bytes, Buffer.from('..')]),
          nameStart: 2,
          nameEnd: 2 + bytes.length,
          inodeHigh: Number(inode >> 32n),
          inodeLow: Number(inode & 0xffffffffn),
          linkTarget,
        })
        const { type, mode, uid, gid, links, size, deviceId } = rest
        one.addNew(joinPath(folder, name), {
          type,
          mode,
          uid,
          gid,
          links,
          deviceId,
          inode,
          mtimeNs: time(rest.mtimeSeconds, rest.mtimeNanoseconds),
          ctimeNs: time(rest.ctimeSeconds, rest.ctimeNanoseconds),
          ...(type === 'file' ? { size } : {}),
          ...(linkTarget === undefined ? {} : { linkTarget }),
        })
        if (type === 'dir') folder = joinPath(folder, name)
      }
      assert.equal(other.size, one.size)
      assert.deepEqual(told(other), told(one))
    }),
  )
})

const told = (listing: Listing): unknown[] =>
  [...listing.below(rootRow)].map((row) => [
    listing.path(row),
    listing.isKnown(row) ? listing.attributes(row) : undefined,
    listing.fingerprint(row).toString('hex'),
    listing.folderBytes(row).toString('hex'),
    listing.isHidden(row),
    listing.find(listing.path(row)),
  ])

test('what is in a folder has other bytes when a name, a target, or any attribute differs', () => {
  const bytesOf = (name: string, target: string, size: number): string => {
    const listing = new Listing()
    listing.add('/d' as RawPath, { type: 'dir', mode: 0o755, uid: 0, gid: 0, mtimeNs: 0n })
    const link = { type: 'symlink', mode: 0o777, uid: 0, gid: 0, mtimeNs: 1n } as const
    listing.add(`/d/${name}` as RawPath, { ...link, linkTarget: target as RawText })
    listing.add('/d/f' as RawPath, { type: 'file', mode: 0o644, uid: 0, gid: 0, mtimeNs: 1n, size })
    return listing.folderBytes(listing.find('/d' as RawPath)).toString('hex')
  }
  const all = [bytesOf('ab', 'c', 1), bytesOf('a', 'bc', 1), bytesOf('ab', 'd', 1), bytesOf('ab', 'c', 2)]
  assert.equal(new Set(all).size, all.length)
  assert.equal(bytesOf('ab', 'c', 1), all[0])
})
