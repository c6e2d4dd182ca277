// A staged change that waits for its commit, on a file system of its own kind, put back to its start as often as it is needed.
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { deserialize, serialize } from 'node:v8'
import { asRaw, rawFromString } from '../src/base/raw-text.ts'
import type { RawPath } from '../src/model/raw-path.ts'
import type { PathChange } from '../src/model/transaction.ts'
import { commit, prepareCommit, type PreparedCommit } from '../src/stage/commit.ts'
import type { CommitDisk } from '../src/stage/commit-disk.ts'
import {
  afterScript,
  beforeScript,
  changesBetween,
  describeTree,
  readTree,
  sh,
  testLibc,
} from './stage-commit-tree.ts'

/** With a subvolume at `/sub` (btrfs), or a mount at `/srv` whose upper files lie on it, or elsewhere. */
export type CaseKind = 'plain' | 'subvolume' | 'mount' | 'mount without a place'

export interface StagedCase {
  readonly root: string
  readonly journal: string
  /** A file with the changes. */
  readonly changes: string
  /** Deepest mount first. */
  readonly layers: readonly { readonly mount: string; readonly upper: string }[]
  readonly keeps: readonly string[]
}

export interface CommitCase {
  readonly staged: StagedCase
  /** A file that says all of it to another process. */
  readonly file: string
  readonly changes: readonly PathChange[]
  /** Everything as it was at the start, or as another call of `save` saw it. */
  reset(from?: string): void
  save(name: string): string
  /** `before`, `after`, or what differs from both. */
  now(folderTimes?: 'in seconds'): string
  [Symbol.dispose](): void
}

export function prepareCase(disk: CommitDisk, staged: StagedCase): PreparedCommit {
  const changes: readonly PathChange[] = deserialize(readFileSync(staged.changes))
  const layers = staged.layers.map(({ mount, upper }) => ({ mount, upper: rawFromString(upper) }))
  return prepareCommit(disk, {
    root: rawFromString(staged.root),
    folder: rawFromString(staged.journal),
    changes,
    keeps: staged.keeps.map((keep) => rawFromString(keep)),
    prepared(path: RawPath) {
      const layer = layers.find(
        ({ mount }) => mount === '/' || path === mount || path.startsWith(`${mount}/`),
      )
      assert.ok(layer)
      const inside = layer.mount === '/' ? path : path.slice(layer.mount.length)
      return asRaw(inside === '/' ? layer.upper : `${layer.upper}${inside}`)
    },
  })
}

export function runCommit(disk: CommitDisk, staged: StagedCase): void {
  commit(disk, prepareCase(disk, staged))
}

/** In a mount namespace of its own: it mounts overlays, and for some kinds more. */
export function openCase(folder: string, kind: CaseKind = 'plain'): CommitCase {
  const libc = testLibc()
  const run = join(folder, 'run')
  const root = join(run, 'root')
  const withMount = kind === 'mount' || kind === 'mount without a place'
  const ownUpper = join(kind === 'mount' ? join(root, 'srv/.vml-stage/layers') : join(run, 'stage/srv'))
  const staged: StagedCase = {
    root,
    journal: join(run, 'stage/journal'),
    changes: join(folder, 'changes'),
    layers: [
      ...(withMount ? [{ mount: '/srv', upper: join(ownUpper, 'upper') }] : []),
      { mount: '/', upper: join(run, 'stage/upper') },
    ],
    keeps: kind === 'mount' ? [join(root, 'srv/.vml-stage/keep')] : [],
  }
  const clear = () => {
    if (!existsSync(run)) return
    if (withMount) sh('! mountpoint -q "$1" || umount "$1"', folder, join(root, 'srv'))
    rmSync(run, { recursive: true })
  }
  const make = () => {
    mkdirSync(root, { recursive: true })
    if (kind === 'subvolume') sh('btrfs -q subvolume create "$1"', folder, join(root, 'sub'))
    if (!withMount) return
    // Outside of what is copied, so that its files are seen once.
    rmSync(join(folder, 'other'), { recursive: true, force: true })
    mkdirSync(join(folder, 'other'))
    mkdirSync(join(root, 'srv'))
    sh('mount --bind "$1" "$2"', folder, join(folder, 'other'), join(root, 'srv'))
  }
  mkdirSync(folder, { recursive: true })
  clear()
  make()
  sh(beforeScript, root)
  stageChanges({ folder, run, root, ownUpper: withMount ? ownUpper : undefined })
  const before = readTree(libc, root)
  const after = readTree(libc, join(folder, 'expected'))
  const changes = changesBetween(before, after).filter(
    ({ path, before: was, after: is }) => !was || !is || inUpper(staged, path),
  )
  writeFileSync(staged.changes, serialize(changes))
  writeFileSync(join(folder, 'case'), JSON.stringify(staged))
  const save = (name: string): string => {
    const copy = join(folder, name)
    rmSync(copy, { recursive: true, force: true })
    sh('cp -a --reflink=auto "$1" "$2"', folder, run, copy)
    return copy
  }
  const base = save('base')
  assert.notEqual(describeTree(before).join('\n'), describeTree(after).join('\n'))
  return {
    staged,
    file: join(folder, 'case'),
    changes,
    save,
    reset(from = base) {
      clear()
      make()
      // A mount point is a folder of the copy, too.
      sh('cp -a --reflink=auto "$1/." "$2"', folder, from, run)
    },
    now(folderTimes) {
      const [now, was, is] = [readTree(libc, root), before, after].map((tree) =>
        describeTree(tree, folderTimes).join('\n'),
      )
      assert.ok(now !== undefined && was !== undefined && is !== undefined)
      if (now === was) return 'before'
      return now === is ? 'after' : differences(now, { before: was, after: is })
    },
    [Symbol.dispose]: clear,
  }
}

/** Nothing of VML is left in the root or in the folder of the stage. */
export function leftBehind({ staged, file }: CommitCase): string[] {
  const keeps = [join(staged.root, '.vml-stage'), join(staged.root, 'sub/.vml-stage'), ...staged.keeps]
  const folders = [...keeps, join(staged.root, 'srv/.vml-stage/keep'), staged.journal]
  assert.ok(readdirSync(dirname(file)).length > 0)
  return folders.filter((folder) => existsSync(folder))
}

function inUpper({ layers }: StagedCase, path: RawPath): boolean {
  const bytes = (text: string) => Buffer.from(text, 'latin1')
  return layers.some(({ mount, upper }) => {
    if (mount !== '/' && path !== mount && !path.startsWith(`${mount}/`)) return false
    const inside = mount === '/' ? path : path.slice(mount.length)
    return existsSync(Buffer.concat([Buffer.from(upper), bytes(inside)])) || isLinkThere(upper, inside)
  })
}

function isLinkThere(upper: string, inside: string): boolean {
  const parent = Buffer.concat([
    Buffer.from(upper),
    Buffer.from(inside.slice(0, inside.lastIndexOf('/')), 'latin1'),
  ])
  if (!existsSync(parent)) return false
  const names = readdirSync(parent, { encoding: 'buffer' }).map((name) => name.toString('latin1'))
  return names.includes(inside.slice(inside.lastIndexOf('/') + 1))
}

interface Stage {
  readonly folder: string
  readonly run: string
  readonly root: string
  readonly ownUpper: string | undefined
}

function stageChanges({ folder, run, root, ownUpper }: Stage): void {
  const merged = join(folder, 'merged')
  mkdirSync(merged, { recursive: true })
  const mount = `mkdir -p "$2/upper" "$2/work" && mount -t overlay vml -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work,redirect_dir=off,metacopy=off,index=off,xino=off" "$3"`
  mkdirSync(join(run, 'stage'))
  if (ownUpper !== undefined) mkdirSync(ownUpper, { recursive: true })
  sh(mount, folder, root, join(run, 'stage'), merged)
  if (ownUpper !== undefined) {
    sh(mount, folder, join(root, 'srv'), ownUpper, join(merged, 'srv'))
    sh('[ ! -d "$1" ] || mount -t tmpfs tmpfs "$1"', folder, join(merged, 'srv/.vml-stage'))
  }
  sh(afterScript, merged)
  sh('rm -rf expected && cp -a merged expected && rm -rf expected/srv/.vml-stage', folder)
  if (ownUpper !== undefined) {
    // The removal above gave the copy a time of its own.
    sh('touch -r merged/srv expected/srv; umount -R merged/srv', folder)
  }
  sh('umount merged; rmdir merged', folder)
  // What the stage itself put there, such as a mount point, is no change: the folder must not go live with it.
  sh('echo placeholder >n/two/ours; mkdir n/e/ours', join(run, 'stage/upper'))
}

function differences(now: string, { before, after }: { before: string; after: string }): string {
  const [has, was, is] = [now, before, after].map((text) => new Set(text.split('\n')))
  assert.ok(has && was && is)
  const of = (wanted: ReadonlySet<string>) => [
    ...[...wanted].filter((each) => !has.has(each)).map((each) => `- ${each}`),
    ...[...has].filter((each) => !wanted.has(each)).map((each) => `+ ${each}`),
  ]
  const [fromBefore, fromAfter] = [of(was), of(is)]
  const nearer = fromBefore.length < fromAfter.length ? fromBefore : fromAfter
  return [
    `neither before nor after (${fromBefore.length}, ${fromAfter.length} lines)`,
    ...nearer.slice(0, 12),
  ].join('\n')
}
