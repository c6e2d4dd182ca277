// Runs one of the programs on commits in a mount namespace of its own, on a file system made for it, which is gone afterwards.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export type DiskKind = 'tmpfs' | 'ext4' | 'xfs' | 'btrfs'

/** Sizes at which mkfs of each makes one (xfs takes nothing below 300 MB). */
export const makeDisk: Readonly<Record<DiskKind, string>> = {
  tmpfs: 'mount -t tmpfs -o size=400m tmpfs disk',
  ext4: 'truncate -s 200M image && mkfs.ext4 -q -F image && mount -o loop image disk',
  xfs: 'truncate -s 320M image && mkfs.xfs -q -f image && mount -o loop image disk',
  btrfs: 'truncate -s 300M image && mkfs.btrfs -q -f image >/dev/null 2>&1 && mount -o loop image disk',
}

/** `program` is a file beside this one; it gets its plan with `folder` on that disk, as JSON, and answers in JSON. */
export function runOnDisk<Answer>(disk: DiskKind, program: string, plan: object): Answer {
  const folder = mkdtempSync(join(tmpdir(), 'vml-commit-'))
  try {
    mkdirSync(join(folder, 'disk'))
    const asked = JSON.stringify({ ...plan, folder: join(folder, 'disk/case') })
    // With the namespace its mounts go, and with them the loop device.
    const script = `cd "$1" && ${makeDisk[disk]} && exec "$2" --disable-warning=ExperimentalWarning "$3" "$4"`
    const { status, stdout, stderr } = spawnSync(
      'unshare',
      [
        ...['-m', '--propagation', 'private', '/bin/sh', '-c', script, 'sh'],
        ...[folder, process.execPath, join(import.meta.dirname, program), asked],
      ],
      { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 },
    )
    assert.equal(status, 0, stderr || stdout)
    const answer: Answer = JSON.parse(stdout)
    return answer
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
