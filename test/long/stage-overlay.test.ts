// Random histories in stages on each file system that can have them: what was done is what the change set says.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runBed, type BedFileSystem } from '../stage-bed.ts'

const rounds = 12
const seedsOfRound = 10

for (const fileSystem of ['here', 'chroot', 'ext4', 'xfs', 'btrfs', 'tmpfs'] satisfies BedFileSystem[]) {
  test(`on ${fileSystem}, change sets are exact over ${rounds * seedsOfRound} long histories`, (context) => {
    let changes = 0
    for (let round = 1; round <= rounds; round++) {
      const seeds = Array.from({ length: seedsOfRound }, (_, at) => round * 1000 + at)
      changes += runBed({ fileSystem, seeds, operations: 40 * round })
    }
    context.diagnostic(`${changes} changes in ${rounds * seedsOfRound} histories`)
    assert.ok(changes > rounds * seedsOfRound * 20, `only ${changes} changes`)
  })
}
