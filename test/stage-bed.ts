// Roots to be staged: file systems with mounts in them, built and left again in a mount namespace of their own. Started as a program, it checks one history.
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { systemErrorCode } from '../src/base/failure.ts'
import { rawFromString, rawToBytes, rawFromBytes } from '../src/base/raw-text.ts'
import type { RawPath } from '../src/model/raw-path.ts'
import { readChangeSet, type ChangeSet } from '../src/stage/change-set.ts'
import { lowerConflicts } from '../src/stage/lower-conflicts.ts'
import { planMounts, viewOf, type MountPlan } from '../src/stage/mount-plan.ts'
import { compareIndex, type RootIndex } from '../src/stage/root-index.ts'
import { processesInStage, runInStage } from '../src/stage/run-in-stage.ts'
import { scanRoot } from '../src/stage/scan-root.ts'
import { makeStage, removeStage, type StageFolder } from '../src/stage/stage-folder.ts'
import { openFolderReader } from '../src/wire/folder-reader.ts'
import { openLibc, type Libc } from '../src/wire/libc.ts'
import { historyScript, openDice, type Dice } from './stage-history.ts'
import { differences, linkGroups, parseSnapshot, snapshotProgram, type Snapshot } from './stage-snapshot.ts'

export const stageBedProgram = import.meta.filename

/** `here`: a folder of the file system on which temporary files lie; `chroot`: such a one that is the root of all that is run, us included. */
export type BedFileSystem = 'here' | 'chroot' | 'ext4' | 'xfs' | 'btrfs' | 'tmpfs'

export interface BedRequest {
  readonly fileSystem: BedFileSystem
  readonly seeds: readonly number[]
  readonly operations: number
}

export const bedToken = 'bed'
const state = rawFromString('/var/lib/vml') as RawPath
/** All in which a history is at work: two on the root, one on a mount of its own, one of which another view is at `/view`, one on a mount in a read-only one. */
const folders = ['d', 'e', 'home', 'srv/web', 'readonly/in']

export interface Bed {
  readonly root: string
  /** A folder of the history is a volume of its own that is no mount: nothing can be renamed into it. */
  readonly isSplit: boolean
  readonly libc: Libc
  plan(): MountPlan
  scan(plan: MountPlan): RootIndex
  /** Outside of the stage. */
  snapshot(plan: MountPlan): Snapshot
}

/** In a private mount namespace only: what is mounted goes with it. */
function makeBed(folder: string, fileSystem: BedFileSystem): Bed {
  const top = join(folder, 'fs')
  mkdirSync(top)
  makeFileSystem(fileSystem, folder, top)
  const root = join(top, 'root')
  sh(
    `${fileSystem === 'btrfs' ? 'btrfs subvolume create root >&2' : 'mkdir root'}; cd root
    chmod 751 .; setfattr -n user.of-the-root -v x . || :
    mkdir -p proc sys dev run tmp etc home srv view usr readonly var/log var/tmp var/cache/apt/archives var/lib/vml d e
    mkdir -m 700 var/lib/vml/stage var/lib/vml/stage/open
    ln -s usr/bin bin; ln -s usr/sbin sbin; ln -s usr/lib lib; ln -s usr/lib64 lib64
    mknod -m 666 dev/null c 1 3; mknod -m 666 dev/urandom c 1 9; echo log >var/log/a
    mount --bind /usr usr; mount -o remount,ro,bind usr
    mount -t tmpfs -o nosuid,mode=755 tmpfs home
    mkdir srv/web srv/web/a; mount --bind srv/web view
    mount -t tmpfs tmpfs readonly; mkdir readonly/in; mount -o remount,ro readonly; mount -t tmpfs tmpfs readonly/in`,
    top,
  )
  return openBed(root, fileSystem === 'btrfs')
}

/** `root` is empty for the root of this process. */
function openBed(root: string, isSplit: boolean): Bed {
  const libc = openLibc(tmpdir())
  const reader = openFolderReader(tmpdir())
  assert.ok(libc && reader, 'node:ffi is missing')
  const plan = () => {
    const planned = planMounts({
      mountInfo: rawFromBytes(readFileSync('/proc/self/mountinfo')),
      root: rawFromString(root || '/') as RawPath,
      state,
      stateOnMount: true,
      isFolder: (path) => isFolder(`${root}${path}`),
      dataFolders: [],
    })
    assert.ok(planned.kind === 'stage', planned.kind === 'unsupported' ? planned.reason : '')
    return planned.plan
  }
  return {
    root,
    isSplit,
    libc,
    plan,
    scan: (planned) => {
      const { index, unread } = scanRoot(viewOf(planned), { libc, reader })
      assert.deepEqual(unread, [])
      return index
    },
    snapshot: (planned) =>
      parseSnapshot(
        execFileSync('python3', ['-c', snapshotProgram, root || '/', ...snapshotWords(planned)], {
          encoding: 'utf8',
          maxBuffer: 2 ** 30,
        }),
      ),
  }
}

function snapshotWords(plan: MountPlan): string[] {
  const { tops, closed } = viewOf(plan)
  return [...tops, '--', ...closed]
}

function isFolder(path: string): boolean {
  return spawnSync('test', ['-d', path]).status === 0 && spawnSync('test', ['-L', path]).status !== 0
}

function makeFileSystem(fileSystem: BedFileSystem, folder: string, top: string): void {
  if (fileSystem === 'here' || fileSystem === 'chroot') return
  if (fileSystem === 'tmpfs') {
    sh('mount -t tmpfs tmpfs "$1"', folder, top)
    return
  }
  const make = { ext4: 'mkfs.ext4 -q', xfs: 'mkfs.xfs -q', btrfs: 'mkfs.btrfs -q' }[fileSystem]
  sh(`truncate -s 400M image; ${make} image; mount -o loop image "$1"`, folder, top)
}

export function sh(script: string, folder: string, ...words: readonly string[]): string {
  return execFileSync('sh', ['-euc', script, 'sh', ...words], {
    cwd: folder,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  })
}

/** The root becomes a mount point, as a stage needs it, with this project and its Node in it. */
function enterChroot(root: string, request: BedRequest): string {
  const project = dirname(import.meta.dirname)
  const inside = (path: string) => `/opt/${relative(project, path)}`
  sh(
    `mount --rbind . .; cd "$PWD"; mkdir opt; mount --bind "$1" opt; mount -o remount,ro,bind opt
    mount -t proc proc proc`,
    root,
    project,
  )
  const node = inside(join(project, 'node_modules/.bin/node'))
  return execFileSync(
    'chroot',
    [
      root,
      node,
      '--disable-warning=ExperimentalWarning',
      inside(stageBedProgram),
      '',
      JSON.stringify(request),
    ],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] },
  )
}

/** What it prints. */
export async function inStage(folder: StageFolder, command: readonly string[], status = 0): Promise<string> {
  const chunks: Buffer[] = []
  const outcome = await runInStage({
    folder,
    command,
    environment: process.env,
    stdio: ['ignore', 'pipe', 'inherit'],
    onStart: (child) => child.stdout?.on('data', (chunk: Buffer) => chunks.push(chunk)),
  })
  assert.deepEqual(outcome, { status })
  return Buffer.concat(chunks).toString()
}

async function checkHistory(bed: Bed, seed: number, operations: number): Promise<number> {
  const dice = openDice(seed)
  runHere(bed, dice, operations)
  const plan = bed.plan()
  const before = bed.snapshot(plan)
  const folder = makeStage(plan, { token: bedToken }, bed.libc)
  const index = bed.scan(plan)
  assert.deepEqual([...index.paths].toSorted(), [...before.keys()].toSorted(), 'the index has other paths')
  // A stage is entered by each dpkg of a run: what one left, the next one goes on with.
  for (let part = 0; part < 3; part++) {
    writeScript(bed, historyScript(dice, operations, folders))
    await inStage(folder, ['timeout', '60', '/bin/sh', '/tmp/history'])
  }
  const words = snapshotWords(plan)
  const after = parseSnapshot(await inStage(folder, ['python3', '-c', snapshotProgram, '/', ...words]))
  assert.deepEqual(processesInStage(bedToken), [])
  assert.deepEqual([...bed.snapshot(plan)], [...before], 'the stage changed what is below')
  assert.deepEqual([...compareIndex(index, bed.scan(plan))], [])

  const read = () => readChangeSet({ plan, index, libc: bed.libc })
  const first = await read()
  assert.deepEqual(differences(first.changes, before, after), [], 'the change set is not exact')
  assert.deepEqual(lowerConflicts(first, index), [])
  const again = await read()
  assert.deepEqual(differences(again.changes, before, after), [], 'read again, it is another one')
  assert.deepEqual(lowerConflicts(again, index), [])
  const sealed = again.seal()
  assert.deepEqual(differences(sealed, before, after), [], 'sealed, it is another one')
  for (const { path, before: old } of sealed) {
    if (old === undefined) continue
    // As a commit looks: each is still what it was read as.
    const now = lstatSync(Buffer.from(bed.root + path, 'latin1'), { bigint: true })
    assert.deepEqual([now.ino, now.ctimeNs, now.mtimeNs], [old.inode, old.ctimeNs, old.mtimeNs], path)
  }
  assert.equal(existsSync(Buffer.from(folder.enter, 'latin1')), false, 'a sealed stage can be entered')
  apply(bed, again)
  const now = bed.snapshot(plan)
  assert.deepEqual(differences([], now, after), [], 'what was prepared makes another tree')
  // Numbers of files are those of their volume, and an overlay tells them without it.
  if (!bed.isSplit)
    assert.deepEqual(linkGroups(now), linkGroups(after), 'names of one file were torn apart, or put together')
  removeStage(plan)
  assert.deepEqual(readdirSync(`${bed.root}/var/lib/vml/stage/open`), [])
  return first.changes.length
}

function writeScript(bed: Bed, script: string): void {
  writeFileSync(`${bed.root}/tmp/history`, Buffer.from(script, 'latin1'))
}

/** The same without a stage: what is there before. */
function runHere(bed: Bed, dice: Dice, operations: number): void {
  const makeFolder = bed.isSplit ? 'btrfs -q subvolume create e >&2' : 'mkdir e'
  sh(`rm -rf d e home/* readonly/in/* srv/web; mkdir -p d srv/web; ${makeFolder}`, bed.root || '/')
  sh('umount view; mount --bind srv/web view', bed.root || '/')
  writeScript(bed, historyScript(dice, operations, folders))
  sh('timeout 60 sh tmp/history || :', bed.root || '/')
}

/** A commit without any care for cuts. */
function apply(bed: Bed, { changes, prepared }: ChangeSet): void {
  const at = (path: string) => Buffer.from(bed.root + path, 'latin1')
  for (const { path, before, after } of changes.toReversed()) {
    if (before && (!after || after.type !== before.type || before.type !== 'dir'))
      rmSync(at(path), { recursive: true, force: true })
  }
  const { libc } = bed
  const folderAt = (path: RawPath) => rawFromBytes(at(path))
  for (const { path, after, before } of changes) {
    if (after === undefined) continue
    if (after.type !== 'dir') {
      moveTo(rawToBytes(prepared(path)), at(path))
      continue
    }
    if (before?.type !== 'dir') mkdirSync(at(path))
    for (const { name } of libc.readXattrs(folderAt(path))) libc.removeXattr(folderAt(path), name)
    const file = libc.openAt(-100, folderAt(path), 0)
    libc.chownOf(file, after)
    libc.chmodOf(file, after.mode)
    for (const { name, value } of after.xattrs ?? []) libc.setXattr(file, name, value)
    libc.close(file)
  }
}

function moveTo(from: Buffer, to: Buffer): void {
  try {
    renameSync(from, to)
  } catch (error) {
    if (systemErrorCode(error) !== 'EXDEV') throw error
    const copy =
      'import sys, subprocess; subprocess.run([b"mv", b"-T"] + [bytes.fromhex(w) for w in sys.argv[1:]], check=True)'
    execFileSync('python3', ['-c', copy, from.toString('hex'), to.toString('hex')])
  }
}

/** In a namespace of its own; throws what it says where a history is not told exactly. Says how many changes there were. */
export function runBed(request: BedRequest): number {
  const folder = mkdtempSync(join(tmpdir(), 'vml-stage-'))
  try {
    const { status, stdout, stderr } = spawnSync(
      'unshare',
      [
        '-m',
        '--propagation',
        'private',
        process.execPath,
        '--disable-warning=ExperimentalWarning',
        stageBedProgram,
        folder,
        JSON.stringify(request),
      ],
      { encoding: 'utf8', maxBuffer: 2 ** 28 },
    )
    assert.equal(status, 0, `${stdout}${stderr}`)
    return Number(stdout)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function main(folder: string, request: BedRequest): Promise<void> {
  const { fileSystem, seeds, operations } = request
  const bed = folder === '' ? openBed('', false) : makeBed(folder, fileSystem)
  if (folder !== '' && fileSystem === 'chroot') {
    process.stdout.write(enterChroot(bed.root, request))
    return
  }
  let changes = 0
  for (const seed of seeds) {
    try {
      changes += await checkHistory(bed, seed, operations)
    } catch (error) {
      throw new Error(`The history of seed ${seed} on ${fileSystem}`, { cause: error })
    }
  }
  process.stdout.write(String(changes))
}

if (import.meta.main) {
  const [folder = '', request = ''] = process.argv.slice(2)
  await main(folder, JSON.parse(request) as BedRequest)
}
