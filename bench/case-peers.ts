// One change of three is taken back, by each who can: what is left over, what is missing, what broke, what it kept and how long it took.
import { type Chroot, openChroot } from '../test/chroot.ts'
import { openPackageArchive } from '../test/package-archive.ts'
import { compareTrees } from '../test/tree-compare.ts'
import { readTree } from '../test/tree-read.ts'
import { regenerated } from '../test/tree-rules.ts'
import type { Case } from './case.ts'
import { complaints, install, laterWork, publishFirst, publishSecond } from './peer-story.ts'
import { type Contender, contenders } from './peers.ts'
import type { TableResult } from './report.ts'

const names = ['vml', 'undochange', 'rollback', 'etckeeper', 'hand', 'history', 'forgotten'] as const

export const peersCase: Case = {
  title: 'one of three changes is taken back: VML, snapper, etckeeper, apt history-undo; as root',
  steps: names,
  // Its chroots lie in the temporary folder, and are gone afterwards.
  needs: () => ({ data: [], work: { bytes: 0, files: 0 } }),
  async run(bench, steps) {
    const rows: string[][] = []
    for (const name of names) {
      if (!steps.has(name)) continue
      bench.signal.throwIfAborted()
      const row = await measure(contenders[name])
      console.error(`peers-${name}: ${row.join(', ')}`)
      rows.push(row)
    }
    const result: TableResult = {
      kind: 'table',
      name: 'peers',
      head: ['who', 'ended with', 'left over', 'missing', 'different', 'afterwards', 'kept KB', 's'],
      rows,
    }
    return [result]
  },
}

async function measure(contender: Contender): Promise<string[]> {
  await using never = await play(contender, false)
  const truth = readTree(never.chroot.path)
  await using chroot = await play(contender, true)
  const startedMs = performance.now()
  const { status, stdout, stderr } = await chroot.chroot.sh(contender.undo, { mayFail: true })
  const seconds = (performance.now() - startedMs) / 1000
  if (status !== 0) console.error((stdout + stderr).split('\n').slice(-12).join('\n'))
  const wrong = await complaints(chroot.chroot)
  await removeOwn(chroot.chroot, contender)
  const { differences } = compareTrees(readTree(chroot.chroot.path), truth, { allowed: regenerated })
  for (const { path, kind, one, other } of differences.slice(0, 40))
    console.error(`  ${path}: ${kind}: ${one} | ${other}`)
  const paths = (kinds: (kind: string) => boolean) => [
    ...new Set(differences.filter(({ kind }) => kinds(kind)).map(({ path }) => path)),
  ]
  const [left, missing] = ['only in one', 'only in other'].map((kind) => paths((each) => each === kind))
  const different = paths((kind) => !kind.startsWith('only'))
  return [
    contender.title,
    String(status),
    String(left?.length),
    String(missing?.length),
    String(different.length),
    wrong.length === 0 ? 'clean' : wrong.join(', '),
    (chroot.keptBytes / 1000).toFixed(0),
    seconds.toFixed(2),
  ]
}

interface Played extends AsyncDisposable {
  readonly chroot: Chroot
  readonly keptBytes: number
}

async function play(contender: Contender, withIt: boolean): Promise<Played> {
  await using resources = new AsyncDisposableStack()
  const chroot = resources.use(await openChroot(contender.chroot))
  const archive = await openPackageArchive(chroot)
  await publishFirst(archive)
  await contender.prepare(chroot, archive)
  await chroot.sh(install)
  await publishSecond(archive, { forgets: contender.archiveKeeps !== true })
  const before = await contender.keptBytes(chroot)
  if (withIt) await contender.change(chroot)
  const keptBytes = (await contender.keptBytes(chroot)) - before
  await chroot.sh(`set -e\n${laterWork}`)
  if (!withIt) await removeOwn(chroot, contender)
  const owned = resources.move()
  return { chroot, keptBytes, [Symbol.asyncDispose]: async () => await owned.disposeAsync() }
}

async function removeOwn(chroot: Chroot, { own }: Contender): Promise<void> {
  // Snapshots are subvolumes, which nobody removes as folders: read-only ones stay, and are not looked at.
  await chroot.sh(
    `umount /.snapshots 2>/dev/null; rm -rf ${own.filter((path) => path !== '/.snapshots').join(' ') || '/nothing'} /root/.cache /root/.local`,
  )
  if (own.includes('/.snapshots'))
    await chroot.sh(
      'for each in /.snapshots/*/snapshot; do btrfs -q subvolume delete "$each"; done; btrfs -q subvolume delete /.snapshots',
    )
}
