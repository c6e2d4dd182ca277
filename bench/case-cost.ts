// What a stage and a record add to a run of apt: the same packages by bare apt and by apt under VML, each in a chroot of its own, by turns.
import { type Chroot, openChroot } from '../test/chroot.ts'
import { ruleServiceStarts } from '../test/chroot-services.ts'
import { mirrorPackages } from '../test/mirror-packages.ts'
import { openPackageArchive } from '../test/package-archive.ts'
import type { TinyPackage } from '../test/tiny-packages.ts'
import type { Bench, Case } from './case.ts'
import type { Measured } from './measure.ts'
import { figuresOf, type PairedResult, type Result, type Run } from './report.ts'

const pairsDefault = 3

const tiny: TinyPackage = {
  name: 'tiny-tool',
  version: '1',
  files: {
    '/usr/bin/tiny-tool': { content: '#!/bin/sh\n', mode: 0o755 },
    '/usr/share/tiny/table': '1\n',
    '/etc/tiny.conf': 'a=1\n',
  },
  conffiles: ['/etc/tiny.conf'],
}

/** Words for apt-get; without names of real packages the archive has the tiny one. */
const steps = {
  tiny: { words: ['install', 'tiny-tool'], real: false },
  one: { words: ['install', 'tree'], real: true },
  many: { words: ['install', 'nginx', 'postgresql-15', 'vim', 'php-cli', 'ruby'], real: true },
  upgrade: { words: ['dist-upgrade'], real: true },
} as const
type Step = keyof typeof steps
const stepNames = ['tiny', 'one', 'many', 'upgrade'] as const satisfies readonly Step[]

export const costCase: Case = {
  title: 'apt in a stage, recorded, against bare apt; an undo against apt’s own way back; as root',
  steps: stepNames,
  // Its chroots lie in the temporary folder, and are gone afterwards.
  needs: () => ({ data: [], work: { bytes: 0, files: 0 } }),
  async run(bench, chosen) {
    const results: Result[] = []
    for (const step of stepNames) if (chosen.has(step)) results.push(...(await measureStep(bench, step)))
    return results
  },
}

async function measureStep(bench: Bench, step: Step): Promise<PairedResult[]> {
  const { pairs = pairsDefault } = bench
  await using staged = await openSide(step)
  await staged.chroot.vml(['tx', 'enable'])
  // Each undo here keeps what it removed, more than the default budget has: to make room for it again and again is no part of a stage.
  await staged.chroot.sh('mkdir -p /etc/vml && cat >/etc/vml/config.toml', {
    input: '[transactions]\nbudget = "8G"\n',
  })
  await accustom(staged)
  let packages = 0
  const there = ['apt-get', '-y', ...steps[step].words]
  const names = { there: `cost-${step}`, back: `cost-${step}-undo` }
  const runs: Record<'there' | 'back', Run[]> = { there: [], back: [] }
  const add = async (
    which: 'there' | 'back',
    who: string,
    pair: number,
    side: Side,
    command: readonly string[],
  ) => {
    const run: Run = { who, pair, ...(await measureInside(side.chroot, command)) }
    runs[which].push(run)
    bench.onRun(names[which], run)
  }
  for (let pair = 1; pair <= pairs; pair++) {
    bench.signal.throwIfAborted()
    // Another one each time: apt's way back leaves users, keys and caches, and the next time there is less to do.
    await using bare = await openSide(step)
    await accustom(bare)
    packages = bare.packages
    await add('there', 'vml', pair, staged, there)
    await add('there', 'apt', pair, bare, there)
    const newest = await newestTransaction(staged.chroot)
    await add('back', 'vml', pair, staged, ['vml', 'tx', 'undo', newest])
    await add('back', 'apt', pair, bare, [
      'apt-get',
      '-y',
      '--allow-downgrades',
      '--purge',
      ...bare.wordsBack,
    ])
  }
  return (['there', 'back'] as const).map((which) => ({
    kind: 'pairs',
    name: names[which],
    ours: 'vml',
    peer: 'apt',
    runs: runs[which],
    figures: figuresOf(runs[which], { ours: 'vml', peer: 'apt' }),
    note: describe(which, runs[which], packages),
  }))
}

/** As a machine at work: its stock was taken, and the programs were read from the disk before. */
async function accustom({ chroot }: Side): Promise<void> {
  await chroot.sh('apt-get -y install accustomed && apt-get -y purge accustomed')
}

interface Side extends AsyncDisposable {
  readonly chroot: Chroot
  /** That the step installs, or has other versions of. */
  readonly packages: number
  /** What takes it back, for apt-get. */
  readonly wordsBack: readonly string[]
}

async function openSide(step: Step): Promise<Side> {
  const { words, real } = steps[step]
  const chroot = await openChroot({ flavour: 'full' })
  try {
    const archive = await openPackageArchive(chroot)
    await ruleServiceStarts(chroot, 'forbidden')
    await archive.publish(tiny, { ...tiny, name: 'accustomed', files: {}, conffiles: [] })
    if (real) await archive.publishFiles(await mirrorPackages(chroot, words, { installed: true }))
    const { stdout } = await chroot.run(['apt-get', '-s', ...words])
    const changes = [...stdout.matchAll(/^Inst (\S+) (?:\[(\S+)\] )?/gm)].map(([, name = '', old]) => ({
      name,
      old,
    }))
    return {
      chroot,
      packages: changes.length,
      wordsBack: [
        'install',
        ...changes.map(({ name, old }) => (old === undefined ? `${name}-` : `${name}=${old}`)),
      ],
      [Symbol.asyncDispose]: async () => await chroot[Symbol.asyncDispose](),
    }
  } catch (error) {
    await chroot[Symbol.asyncDispose]()
    throw error
  }
}

/** bash says what all that it waited for took. What another run wrote is on the disk before. */
async function measureInside(chroot: Chroot, command: readonly string[]): Promise<Measured> {
  const script = 'sync; TIMEFORMAT="%R %U %S"; time "$@" >/run/said 2>&1 || { cat /run/said; exit 1; }'
  const { stderr } = await chroot.run(['bash', '-c', script, 'bash', ...command])
  const [wall = NaN, user = NaN, system = NaN] = (stderr.trim().split('\n').at(-1) ?? '')
    .split(' ')
    .map(Number)
  // The memory of dpkg and of a hook says nothing here.
  return { wallSeconds: wall, cpuSeconds: user + system, peakBytes: 0 }
}

async function newestTransaction(chroot: Chroot): Promise<string> {
  const { stdout } = await chroot.vml(['tx', 'list'])
  const number = /^#(\d+)/.exec(stdout)?.[1]
  if (number === undefined) throw new Error(`vml tx list names no transaction: ${stdout}`)
  return number
}

function describe(which: 'there' | 'back', runs: readonly Run[], packages: number): string {
  const wall = figuresOf(runs, { ours: 'vml', peer: 'apt' }).find(({ what }) => what === 'wallSeconds')
  const more = `${((wall?.ours ?? NaN) - (wall?.peer ?? NaN)).toFixed(2)} s more`
  const count = `${packages} package${packages === 1 ? '' : 's'}`
  if (which === 'back') return `${count}, ${more}`
  return `${count}, ${more}; goal: ${packages >= 20 ? 'at most 1.25 times' : 'at most 3 s more'}`
}
